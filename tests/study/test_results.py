"""What a study found, as tables."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.errors import SpecError, StudyError
from lab.record import journal
from lab.record.folder import Record
from lab.record.journal import read
from lab.report.page import write_report
from lab.response.findings import Effect
from lab.spec.study import parse_spec
from lab.stages import TRAINS, explain
from lab.stages.explain import Explained, TreeStd, Withheld
from lab.study.results import Response, trials_frame, write_trials
from lab.study.status import describe_status, status_of
from lab.study.study import Study
from lab.tasks.digits import Digits
from tests.small import small_spec

TASK = """
from collections.abc import Iterator
import lab

@lab.trial_function(metric="score", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    yield {"score": float(trial.params["pool"] == "max") + trial.params["max_lr"]}
"""


def test_a_choice_of_several_types_is_text_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    value: dict[str, Any] = {
        "name": "mixed",
        "task": {"kind": f"{tmp_path}/task.py:train", "root": "/"},
        "space": {
            "max_lr": {"low": 0.1, "high": 0.2},
            "pool": {"choice": [False, "max", 3]},
            "size": {"choice": [1, 2]},
            "share": {"choice": [1, 2.5]},
        },
        "search": {"sampler": {"kind": "random"}, "trials": 12, "epochs": 1},
        "execution": {"engine": "local", "lanes": 1},
    }
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explore")
    frame = trials_frame(study.spec, study.record, ("explore",))
    assert set(frame["params_pool"]) == {"False", "max", "3"}
    assert frame["params_size"].dtype.kind == "i"
    assert frame["params_share"].dtype.kind == "f"
    write_trials(study.spec, study.record, ("explore",))
    kept = pd.read_parquet(study.record.folder / study.record.TRIALS)
    assert list(kept["params_pool"]) == list(frame["params_pool"])


def test_the_table_of_all_stages_parses_the_journal_once(table_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Path] = []

    def counted(path: Path, begin: int = 0) -> tuple[list[dict[str, Any]], int]:
        parsed.append(path)
        return read(path, begin)

    monkeypatch.setattr(journal, "read", counted)
    frame = trials_frame(table_study.spec, table_study.record, TRAINS)
    assert set(frame["stage"]) == {"explore", "confirm", "final", "refit"}
    assert parsed == [table_study.record.journal_path]


def test_a_score_stands_in_the_table_in_one_precision(table_study: Study) -> None:
    table = pd.read_parquet(table_study.record.folder / table_study.record.TRIALS)
    ended = table[table["score"].notna()]
    metric = table_study.result.artefact("explore")["metric"]
    assert len(ended) > 0
    for rows, name in ((ended["stage"] != "refit", metric), (ended["stage"] == "refit", "train_loss")):
        assert list(ended[rows]["score"]) == list(ended[rows][name])


FAILS = """
from collections.abc import Iterator
import lab

@lab.trial_function(metric="score", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    if trial.params["max_lr"] > 0.15:
        raise ValueError("cannot take so much")
    yield {"score": trial.params["max_lr"]}
"""


def test_why_trials_failed_is_told_in_status_report_and_export(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(FAILS)
    value: dict[str, Any] = {
        "name": "fails",
        "task": {"kind": f"{tmp_path}/task.py:train", "root": "/"},
        "space": {"max_lr": {"low": 0.1, "high": 0.2}},
        "search": {"sampler": {"kind": "random"}, "trials": 12, "epochs": 1, "max_failed_share": 1.0},
        "execution": {"engine": "local", "lanes": 1},
    }
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explain")
    frame = trials_frame(study.spec, study.record, ("explore",))
    failed = frame[frame["outcome"] == "failed"]
    assert 0 < len(failed) < 12
    assert failed["detail"].str.endswith("ValueError: cannot take so much").all()
    assert frame.loc[frame["outcome"] == "completed", "detail"].isna().all()
    reason = f"{len(failed)} failed with: ValueError: cannot take so much"
    assert reason in describe_status(status_of(study))
    assert reason in write_report(study.spec, study.record).read_text()


def test_effects_that_there_are_none_of_say_why(tmp_path: Path) -> None:
    explained = Explained(
        trials=9,
        explains="score",
        out_of_bag_r2=0.5,
        believe_from=0.2,
        withheld=None,
        tree_std=TreeStd(0.1, 0.2),
        effects=(Effect("max_lr", (0.1,), (0.5,), (0.4,), (0.6,)),),
        importances=None,
    )
    spec, record = small_spec(), Record(tmp_path)
    with pytest.raises(StudyError, match="effects are withheld: 3 trials are too few"):
        Response(spec, record, Withheld("3 trials are too few", 3)).effects("max_lr")
    with pytest.raises(KeyError, match=r"no effect of 'max_l' \(did you mean 'max_lr'\?\)"):
        Response(spec, record, explained).effects("max_l")
    assert Response(spec, record, explained).effects("max_lr").data["mean"] == [0.5]


@pytest.mark.parametrize("task_class", [Digits, type("Mine", (Digits,), {})])
def test_a_task_given_as_a_class_is_asked_for_as_an_object(task_class: type[Digits]) -> None:
    with pytest.raises(
        SpecError,
        match=rf"^task: is the class {task_class.__name__}; give a task made of it: {task_class.__name__}\(\)",
    ):
        Study(task=task_class, space={"max_lr": {"low": 0.1, "high": 0.2}})


def test_importances_of_a_forest_that_explains_little_are_withheld(small_study: Study, tmp_path: Path) -> None:
    record = Record(Path(shutil.copytree(small_study.record.folder, tmp_path / "run")))
    explain.STAGE.write(record, replace(explain.STAGE.need(record), measures={}))
    with pytest.raises(StudyError, match="importances are withheld: the forest explains too little"):
        Study.open(record.folder, trust=True).result.plot.importances()
