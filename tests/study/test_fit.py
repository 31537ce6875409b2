"""One model by itself: trained as a study's trial is, to the last bit, and handed out in plain PyTorch."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lab
from lab.errors import LabError, SpecError, StudyError, TaskError
from lab.record.trials import read_trials
from lab.schedules import FlatCosine, Join, OneCycle, Schedule, Snapshot
from lab.spec.study import parse_spec
from lab.stages import final
from lab.study.fit import Fitted
from lab.study.study import Study
from lab.tasks.digits import Digits
from lab.training.snapshots import load_weights
from tests.own_data import table
from tests.small import small


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose models are trained one after the other, up to the final ones."""
    spec = small(
        space={
            "max_lr": {"low": 0.003, "high": 0.03},
            "cycles": {"choice": [1, 2]},
            "dropout": {"low": 0, "high": 0.5},
        },
        search={"trials": 2, "epochs": 2},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 3, "seeds": 1, "snapshots": 1, "controls": "none"},
        execution={"path": "sequential", "threads": 1},
    )
    study = Study.from_spec(parse_spec(spec), tmp_path_factory.mktemp("fit") / "run")
    study.run(until="final")
    return study


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return lab.fit_one_cycle("digits", 0.01, epochs=2, dropout=0.1, quiet=True)


def test_it_has_the_numbers_of_a_trial_of_a_study_to_the_last_bit(study: Study) -> None:
    for row in read_trials(study.record, "explore"):
        alone = lab.fit_one_cycle(
            "digits", **row.params, epochs=row.trial.epochs, seed=row.trial.seed, execution={"threads": 1}, quiet=True
        )
        assert alone.curve["accuracy"].to_dict() == row.curve
        measured = {name: value for name, value in row.metrics.items() if name != "parameters"}
        assert {name: alone.curve[name].iloc[-1] for name in measured} == measured
        assert alone.score == row.score


def test_it_has_the_weights_of_a_study_s_model_to_the_last_bit(study: Study) -> None:
    run = final.STAGE.need(study.record).runs[0]
    (row,) = (row for row in read_trials(study.record, "final") if row.number == run.trial)
    alone = lab.fit_one_cycle(
        "digits", **run.params, epochs=run.epochs, seed=row.trial.seed, execution={"threads": 1}, quiet=True
    )
    kept = Digits().model(run.params)
    load_weights(kept, study.record.final_folder / run.snapshots[-1])
    assert {name: t.tolist() for name, t in kept.state_dict().items()} == {
        name: t.tolist() for name, t in alone.model.state_dict().items()
    }


def test_a_stacked_path_gives_what_the_lanes_of_a_stacked_study_give(tmp_path: Path) -> None:
    search = {"trials": 1, "epochs": 2}
    stacked = {"path": "stacked", "threads": 1}
    spec = small(space={"max_lr": {"low": 0.01, "high": 0.02}}, search=search, execution={**stacked, "width": 1})
    run = Study.from_spec(parse_spec(spec), tmp_path / "run")
    run.run(until="explore")
    (row,) = read_trials(run.record, "explore")
    alone = lab.fit_one_cycle("digits", **row.params, epochs=2, seed=row.trial.seed, execution=stacked, quiet=True)
    assert alone.curve["accuracy"].to_dict() == row.curve


def test_the_model_is_plain_and_predicts_what_the_result_predicts(fitted: Fitted) -> None:
    x, y = fitted.task.data("valid")
    assert not fitted.model.training
    with torch.no_grad():
        plain = fitted.model(fitted.task.model_input(x)).softmax(dim=1)
    assert torch.allclose(fitted.predict(x), plain, atol=1e-6)
    assert fitted.predict_proba(x).shape == (len(x), 10)
    assert fitted.score == pytest.approx(float((plain.argmax(1) == y).float().mean()))
    assert fitted.scores()["accuracy"] == pytest.approx(fitted.score)


def test_the_curve_has_a_row_for_each_epoch_and_ends_where_the_schedule_ends(fitted: Fitted) -> None:
    assert list(fitted.curve.index) == [1, 2]
    assert list(fitted.curve.columns) == ["train_loss", "accuracy", "valid_loss", "lr", "seconds"]
    assert fitted.curve["lr"].iloc[-1] == pytest.approx(0.01 / 1e5, rel=0.2)
    assert fitted.score == fitted.curve["accuracy"].iloc[-1]
    figure = fitted.plot()
    assert [trace.name for trace in figure.data] == ["train_loss", "valid_loss", "accuracy", "lr"]


def test_a_table_predicts_for_a_frame() -> None:
    frame = table(90)
    fitted = lab.fit_one_cycle(lab.Table(frame, target="answer"), 0.01, epochs=1, batch_size=16, quiet=True)
    said = fitted.predict(frame.drop(columns="answer").head(4))
    assert isinstance(said, pd.DataFrame)
    assert len(said) == 4
    assert set(said["class"]) <= set(frame["answer"].astype(str))


def test_the_rate_is_that_of_range_tests_where_it_is_left_out() -> None:
    task = Digits()
    fitted = lab.fit_one_cycle(task, epochs=1, weight_decay=0.1, quiet=True)
    assert fitted.range_test is not None
    assert fitted.params["max_lr"] == fitted.range_test.suggestion
    assert {run["weight_decay"] for run in fitted.range_test.artefact["runs"]} == {0.1}
    assert fitted.range_test.tried == ()
    assert task.cache is None, "the folder of the range tests is gone"
    assert "by range tests" in repr(fitted)


@pytest.mark.parametrize(
    "schedule",
    [
        FlatCosine(max_lr=0.01),
        Snapshot(max_lr=0.01, cycles=2),
        Join(parts=(OneCycle(max_lr=0.01), OneCycle(max_lr=0.001)), shares=(0.5, 0.5)),
        {"kind": "one_cycle", "max_lr": 0.01},
    ],
    ids=lambda schedule: schedule.kind if isinstance(schedule, Schedule) else "mapping",
)
def test_any_schedule_drives_it(schedule: Schedule | dict[str, Any]) -> None:
    fitted = lab.fit_one_cycle("digits", epochs=2, schedule=schedule, dropout=0.1, quiet=True)
    kind = schedule.kind if isinstance(schedule, Schedule) else schedule["kind"]
    assert fitted.trial.schedule.kind == kind
    assert fitted.params == {"dropout": 0.1}
    assert fitted.score is not None
    assert fitted.score > 0.5


def test_cycles_are_trained_as_a_study_trains_them() -> None:
    fitted = lab.fit_one_cycle("digits", 0.01, epochs=2, cycles=2, quiet=True)
    assert fitted.trial.schedule.kind == "snapshot"


def test_random_states_and_threads_are_left_as_they_were() -> None:
    torch.set_num_threads(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().clone())
    lab.fit_one_cycle("digits", 0.01, epochs=1, execution={"threads": 2}, quiet=True)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"epochs": 0}, "epochs: 0: "),
        ({"max_lr": "fast"}, "max_lr: 'fast' is not a number"),
        ({"max_lr": -1.0}, "max_lr: -1.0 is not above 0"),
        ({"dropuot": 0.1}, "dropuot: nothing reads it (did you mean 'dropout'?)"),
        ({"dropout": 1.5}, "dropout: 1.5 is not at least 0 and below 1"),
        ({"dropout": [0.1]}, "dropout: [0.1] is not a number"),
        ({"cycles": 5}, "cycles: 5 cycles do not fit into 2 epochs"),
        ({"batch_size": 0}, "batch_size: 0: "),
        ({"optimizer": "adm"}, "optimizer.kind: 'adm' is unknown"),
        ({"seed": -1}, "seed: -1 is not a whole number"),
        ({"execution": {"path": "function"}}, "execution.path: 'function'"),
        ({"execution": {"gpus_per_lane": 2}}, "execution: 2 processes are a study's"),
        ({"execution": "cpu"}, "execution: "),
        ({"execution": 3}, "execution: "),
        ({"execution": {"pth": "x"}}, "execution.pth: is unknown"),
        ({"schedule": OneCycle(max_lr=0.1)}, "max_lr: is given beside a schedule"),
        ({"schedule": 3, "max_lr": None}, "schedule: 3 is neither"),
        ({"schedule": OneCycle(max_lr=0.1), "max_lr": None, "weight_decay": 0.1}, "weight_decay: is given beside"),
        ({"task": 3}, "task: 3 is no task"),
        ({"task": None}, "task: None is no task"),
        ({"task": "digitz"}, "task.kind: 'digitz' is unknown"),
        ({"task": Digits}, "task: is the class Digits"),
    ],
    ids=lambda value: json.dumps(value, default=str)[:40] if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_one_line_at_the_argument(asked: dict[str, Any], says: str) -> None:
    arguments = {"task": "digits", "max_lr": 0.01, "epochs": 2, "quiet": True, **asked}
    with pytest.raises(SpecError) as refused:
        lab.fit_one_cycle(arguments.pop("task"), **arguments)
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_a_trial_function_is_sent_elsewhere() -> None:
    @lab.trial_function(metric="m", direction="maximize")
    def walk(trial: lab.Trial) -> Any:
        yield {"m": 1.0}

    with pytest.raises(SpecError, match="a trial function, which trains by itself"):
        lab.fit_one_cycle(walk, 0.1, epochs=1)


def test_what_diverges_says_so_and_what_fails_says_why() -> None:
    with pytest.raises(StudyError, match=r"diverged: .*a lower max_lr may help"):
        lab.fit_one_cycle("digits", 1e30, epochs=1, quiet=True)
    with pytest.raises(TaskError, match="above the 1077 training examples"):
        lab.fit_one_cycle("digits", 0.01, epochs=1, batch_size=100_000, quiet=True)


def test_a_task_of_one_s_own_is_told_what_it_does_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    class Own(lab.Task):
        def model(self, params: Any) -> torch.nn.Module:
            return torch.nn.Linear(2, 2)

        def data(self, split: str) -> Any:
            x = torch.randn(40, 2, generator=torch.Generator().manual_seed(len(split)))
            return x, (x.sum(dim=1) > 0).long()

    lab.fit_one_cycle(Own(), 0.01, epochs=1, batch_size=8, width=3)
    assert "warning   width: the task was not seen to read it" in capsys.readouterr().err


def test_every_refusal_is_an_error_of_lab() -> None:
    assert issubclass(SpecError, LabError)
    with pytest.raises(TypeError, match="epochs"):
        lab.fit_one_cycle("digits", 0.01)  # type: ignore[call-arg]
