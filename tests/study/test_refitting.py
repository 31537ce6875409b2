"""One model more with the confirmed setup: on all rows, or on other data; and a study that is extended in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lab
from lab.errors import LabError, RecordError, SpecError, StudyError
from lab.record.trials import read_trials
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.digits import Digits
from tests.own_data import table, write_table
from tests.own_studies import own_spec
from tests.small import small

SPEC = small(
    space={"max_lr": {"low": 0.003, "high": 0.03, "log": True}, "dropout": {"low": 0.0, "high": 0.3}},
    search={"trials": 3, "epochs": 1},
    confirm={"one_cycle": 1, "several": 0, "seeds": 2},
    final={"epochs": 2, "seeds": 1, "snapshots": 1},
    execution={"width": 3},
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Confirmed; not to be written to."""
    study = Study.from_spec(parse_spec(SPEC), tmp_path_factory.mktemp("refit") / "run")
    study.run(until="confirm")
    return study


def test_it_is_trained_on_all_rows_with_the_confirmed_setup(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    from lab.training import trainer

    steps = trainer.steps_per_epoch
    monkeypatch.setattr(trainer, "steps_per_epoch", lambda n, training: sizes.append(n) or steps(n, training))
    fitted = study.result.refit(quiet=True)
    whole = sum(len(Digits().data(split)[0]) for split in ("train", "valid", "test"))  # type: ignore[arg-type]
    assert set(sizes) == {whole}
    best = study.result.best_params
    assert {name: fitted.params[name] for name in best} == best
    assert fitted.trial.epochs == 2
    assert fitted.score is None
    assert "valid_loss" not in fitted.curve
    assert len(fitted.task.data("test")[0]) < whole / 2, "the task itself is as it was"
    assert [trace.name for trace in fitted.plot().data] == ["train_loss", "lr"]


def test_rows_of_the_training_split_alone_leave_the_validation_rows_to_score_by(study: Study) -> None:
    fitted = study.result.refit(rows="train", seed=3, epochs=1, quiet=True)
    alone = lab.fit_one_cycle("digits", **fitted.params, epochs=1, seed=3, quiet=True)
    assert fitted.score == alone.score is not None


def test_the_same_call_gives_the_same_model(study: Study) -> None:
    first, second = (study.result.refit(rows="train+valid", epochs=1, quiet=True) for _ in range(2))
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])


def test_another_task_is_trained_with_the_setup(study: Study) -> None:
    fitted = study.result.refit({"kind": "digits", "split_seed": 3}, epochs=1, quiet=True)
    assert fitted.score is not None
    assert not torch.equal(fitted.task.data("valid")[0], Digits().data("valid")[0])


def test_a_study_of_a_table_takes_a_frame(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", table(90))
    task = {"kind": "table", "path": str(path), "target": "answer", "layers": [8]}
    own = Study.from_spec(parse_spec(own_spec(task)), tmp_path / "run")
    own.run(until="confirm")
    later = table(120, seed=5)
    fitted = own.result.refit(later, epochs=1, quiet=True)
    assert sum(len(fitted.task.data(split)[0]) for split in ("train", "valid", "test")) == len(later)  # type: ignore[arg-type]
    assert len(fitted.predict(later.drop(columns="answer").head(3))) == 3
    kept = own.result.refit(epochs=1, quiet=True)
    assert len(kept.predict(later.drop(columns="answer").head(3))) == 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"rows": "some"}, "rows: 'some' is unknown; choices: train, train+valid, all"),
        ({"epochs": 0}, "epochs: 0 is not a whole number"),
        ({"epochs": True}, "epochs: True is not a whole number"),
        ({"seed": -1}, "seed: -1 is not a whole number"),
        ({"data": "nix"}, "data.kind: 'nix' is unknown"),
        ({"data": 3}, "data: 3 is no task"),
        ({"data": table(10)}, "data: is a frame, and the study's task is digits"),
        ({"execution": {"x": 1}}, "execution.x: is unknown"),
    ],
)
def test_what_cannot_be_is_one_line_at_the_argument(study: Study, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        study.result.refit(quiet=True, **asked)
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_it_needs_a_confirmed_setup_and_a_task(tmp_path: Path) -> None:
    own = lab.Study(lab.OwnLoop(), {"x": lab.Float(0, 1)}, trials=2, folder=tmp_path / "run")
    with pytest.raises(RecordError, match="stage 'confirm' has to run first"):
        own.result.refit()


def test_a_study_is_extended_and_concludes_anew(tmp_path: Path) -> None:
    own = Study.from_spec(parse_spec(SPEC), tmp_path / "run")
    own.run(until="confirm")
    before = [(row.params, row.score) for row in read_trials(own.record, "explore")]
    aside = own.extend(2, space={"dropout": lab.Float(0.0, 0.6)}, confirm={"seeds": 3})
    assert (aside / "confirm.json").is_file()
    result = own.run(until="confirm")
    rows = read_trials(own.record, "explore")
    assert [(row.params, row.score) for row in rows[:3]] == before
    assert len(rows) == 5
    assert result.best.seeds == 3


def test_a_task_made_in_python_is_extended_too(tmp_path: Path) -> None:
    class Own(lab.Task):
        def model(self, params: Any) -> torch.nn.Module:
            return torch.nn.Linear(2, 2)

        def data(self, split: str) -> Any:
            x = torch.randn(60, 2, generator=torch.Generator().manual_seed(len(split)))
            return x, (x.sum(dim=1) > 0).long()

    space = lab.Space(max_lr=lab.Float(1e-3, 0.1, log=True))
    own = lab.Study(Own(), space, trials=2, epochs=1, folder=tmp_path / "run", batch_size=16)
    own.run(engine="local", width=1, until="explore")
    own.extend(1)
    assert len(own.run(engine="local", until="explore").trials) == 3


def test_a_loop_goes_on_after_it_was_extended(tmp_path: Path) -> None:
    own = lab.Study(lab.OwnLoop(), {"x": lab.Float(0, 1)}, trials=2, folder=tmp_path / "run")
    for more in (2, 3):
        while (trial := own.ask()) is not None:
            own.tell(trial, trial.params["x"])
        assert len(own.conclude().trials) == more
        with pytest.raises(StudyError, match="the search is complete"):
            own.tell(0, 1.0)
        own.extend(1)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "search.trials: 3 is not above the 3 there are"),
        ({"trials": -1}, "trials: -1 is not a whole number"),
        ({"trials": "2"}, "trials: '2' is not a whole number"),
        ({"trials": 1, "space": {"dropout": lab.Float(0.1, 0.2)}}, "space.dropout: is narrower than 0 to 0.3"),
        ({"trials": 1, "space": {"dropout": 3}}, "space.dropout: 3 is not one of"),
        ({"trials": 1, "final": 3}, "final: 3 is not a mapping"),
        ({"trials": 1, "finl": {"seeds": 3}}, "finl: is unknown (did you mean 'final'?)"),
        ({"trials": 1, "search": {"epochs": 5}}, "search.epochs: cannot change"),
    ],
)
def test_an_extension_that_cannot_be_changes_nothing(study: Study, asked: dict[str, Any], says: str) -> None:
    before = study.record.spec_path.read_text()
    with pytest.raises(LabError) as refused:
        study.extend(**asked)
    assert str(refused.value).startswith(says)
    assert study.record.spec_path.read_text() == before
    assert not list(study.record.folder.glob("before-*"))


def test_what_has_not_begun_is_not_extended(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        lab.Study("digits", SPEC["space"], folder=tmp_path / "none").extend(3)
