"""A study whose confirmation and final models leave out a fold each, from its plan to what it hands out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lab.errors import SpecError
from lab.record.folder import read_json
from lab.record.trials import read_trials
from lab.spec.study import parse_spec
from lab.stages import ensemble, refit
from lab.study.estimate import estimate
from lab.study.study import Study
from lab.tasks.task import Data, Split, Task
from tests.own_data import table, write_table
from tests.own_studies import own_spec
from tests.unmarked import unmarked


class Signs(Task):
    """Whether two numbers add up to more than nothing; 40 rows to train on and 20 to validate on, in three folds."""

    def data(self, split: Split) -> Data:
        seed, rows = {"train": (0, 40), "valid": (1, 20), "test": (2, 50)}[split]
        x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))
        return x, (x.sum(dim=1) > 0).long()

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(float(params["dropout"])), nn.Linear(8, 2))

    def fold_of_rows(self) -> Any:
        return np.concatenate([1 + np.arange(40) % 2, np.zeros(20, dtype=np.int64)])


def _study(folder: Path, **final: Any) -> Study:
    spec = own_spec({"kind": "signs"})
    spec["confirm"] = {"one_cycle": 2, "several": 0, "seeds": 4}
    spec["final"] = {"epochs": 4, "seeds": 3, "snapshots": 2, "controls": "none", **final}
    del spec["task"]
    return Study(task=Signs(), **{**spec, "trials": 4, "epochs": 2}, folder=folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _study(tmp_path_factory.mktemp("folds") / "run")
    study.run()
    return study


def test_the_search_trains_on_the_first_fold_and_what_follows_on_all_in_turn(study: Study) -> None:
    folds = {
        stage: Counter((row.trial.role.partition(":")[0], row.trial.fold) for row in read_trials(study.record, stage))
        for stage in ("explore", "final", "refit")
    }
    assert folds["explore"] == {("search", None): 4}
    assert folds["final"] == {(role, fold): 1 for role in ("one_cycle", "shorter") for fold in range(3)}
    assert list(folds["refit"].values()) == [3 * 3], "no fold is left out"
    confirmed = [row.trial.fold for row in read_trials(study.record, "confirm")]
    assert confirmed[:6] == [0, 0, 0, 1, 1, 1], "each of three candidates on the same folds"
    assert read_json(study.record.folder / "final.json")["no_snapshots"].startswith("cyclical runs would be 1, fewer")


def test_all_rows_judge_and_all_teach_what_is_handed_out(study: Study) -> None:
    ensembled, refitted = ensemble.STAGE.need(study.record), refit.STAGE.need(study.record)
    chosen = ensembled.chosen
    assert chosen.out_of_fold is not None
    assert chosen.out_of_fold.keys() == chosen.test.keys() == {"accuracy", "nll", "calibration_error"}
    assert (chosen.out_of_fold["accuracy"] * 60) % 1 == pytest.approx(0, abs=1e-4), "a share of all 60 rows"
    assert len(chosen.nets) == 3
    assert refitted.trained_on == 60
    x, y = Signs().data("test")
    again = study.result.ensemble.predict(x)
    assert float((again.argmax(dim=1) == y).float().mean()) == pytest.approx(refitted.test["accuracy"])
    assert "each predicted by models that left out its fold: accuracy" in unmarked(
        (study.record.folder / "report.html").read_text()
    )
    assert "which left out a fold each: accuracy" in ensemble.STAGE.said(ensembled)


def test_a_baseline_that_joins_is_one_model_once_all_rows_teach_it(study: Study) -> None:
    ensembled, refitted = ensemble.STAGE.need(study.record), refit.STAGE.need(study.record)
    joined = {m.name: m.weight for m in refitted.members if m.name}
    files = [m.file for m in ensembled.chosen.members if m.name]
    assert list(joined) == ["logistic regression (scikit-learn)"]
    assert len(files) == 3, "one for each fold"
    assert ensemble.STAGE.said(ensembled).count("logistic") == 1
    assert sum(joined.values()) == pytest.approx(sum(m.weight for m in ensembled.chosen.members if m.name))
    assert all((study.record.final_folder / file).exists() for file in files)


def test_fewer_final_runs_than_folds_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"^final.seeds: 2 is below the 3 folds, each of which a run leaves out; set it"
    ):
        _study(tmp_path / "run", seeds=2).run()
    assert not (tmp_path / "run").exists()


def test_a_tables_folds_are_told_and_checked_before_anything_trains(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", table(80))
    task = {"kind": "table", "path": str(path), "target": "answer", "split": {"folds": 4}}
    spec = parse_spec(own_spec(task) | {"final": {"epochs": 4, "seeds": 4}})
    (line,) = [line for line in estimate(spec, probe=False).lines if "folds" in line]
    assert line.startswith("data     folds of train and valid: 16, 16, 16, 16 rows; ")
    with pytest.raises(SpecError, match=r"^final.seeds: 1 is below the 4 folds"):
        estimate(parse_spec(own_spec(task)), probe=False)
