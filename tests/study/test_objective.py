"""What a search ranks its trials by: the metric, or the loss where the metric's steps are too coarse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import SpecError
from lab.record.folder import read_json
from lab.record.spec_file import read_spec
from lab.record.trials import read_trials
from lab.spec.plan import Store
from lab.spec.study import StudySpec, parse_spec
from lab.stages import confirm, ensemble, explore
from lab.study.objective import rows_that_tell, settled
from lab.study.study import Study
from lab.tasks.task import Data, Kind, Split, Task
from tests.own_data import table, write_table
from tests.own_studies import own_spec
from tests.small import small_spec


class Labelled(Task):
    def __init__(self, y: Tensor, kind: Kind = "classification", metric: str = "accuracy") -> None:
        self._y, self.kind, self.metric = y, kind, metric

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(1, 2)

    def data(self, split: Split) -> Data:
        return torch.zeros(len(self._y), 1), self._y


RARE = torch.tensor([0] * 290 + [1] * 10)
LABELS = torch.tensor([[1, 0]] * 30 + [[0, 1]] * 5 + [[0, 0]] * 65)


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        (Labelled(RARE), 10),
        (Labelled(torch.arange(300) % 10), 270),
        (Labelled(RARE, metric="balanced_accuracy"), 20),
        (Labelled(RARE, metric="auc"), 20),
        (Labelled(RARE, metric="log_loss"), None),
        (Labelled(RARE, metric="of one's own"), None),
        (Labelled(LABELS, "multilabel", "micro_f1"), 35),
        (Labelled(LABELS, "multilabel", "macro_f1"), 10),
        (Labelled(LABELS, "multilabel", "log_loss"), None),
        (Labelled(torch.zeros(9, 1), "regression", "rmse"), None),
    ],
)
def test_the_rows_that_a_metric_hangs_on(task: Task, rows: int | None):
    assert rows_that_tell(task) == rows


def with_task(spec: StudySpec, task: Task) -> StudySpec:
    return spec.model_copy(update={"task": replace(spec.task, opened=task)})


def test_auto_takes_the_loss_where_one_row_is_worth_too_much():
    auto = small_spec(search={"objective": "auto"})
    few, why = settled(with_task(auto, Labelled(RARE)))
    assert few.search.objective == "loss"
    assert why == "trials are ranked by the loss: accuracy hangs on 10 validation rows, each worth 1/10 of it"
    assert settled(with_task(auto, Labelled(torch.arange(300) % 10)))[0].search.objective == "metric"
    target = small_spec(search={"objective": "auto"}, until={"target_score": 0.9})
    assert settled(with_task(target, Labelled(RARE)))[0].search.objective == "metric", (
        "a target score is one of the metric"
    )
    for said in ("metric", "loss"):
        spec = with_task(small_spec(search={"objective": said}), Labelled(RARE))
        assert settled(spec) == (spec, None)


def test_another_word_is_refused():
    with pytest.raises(SpecError, match=r"search\.objective: 'losses': input should be 'metric', 'loss' or 'auto'"):
        small_spec(search={"objective": "losses"})


def test_a_study_that_says_nothing_of_it_keeps_its_name_in_a_database():
    def store(**search: Any) -> Store | None:
        return small_spec(search=search, storage="postgresql://host/db").store

    assert store() == store(objective="metric") != store(objective="loss")
    assert store() is not None
    assert store().study == "small-" + store().study.partition("-")[2]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    path = write_table(tmp_path_factory.mktemp("t") / "t.csv", table(120))
    value = own_spec({"kind": "table", "path": str(path), "target": "answer"})
    return parse_spec(value | {"search": value["search"] | {"objective": "auto"}})


def test_a_study_ranks_by_the_loss_and_is_scored_by_the_metric(asked: StudySpec, tmp_path: Path):
    study = Study.from_spec(asked, tmp_path / "run")
    study.run(until="explore")
    assert read_spec(study.record.spec_path).search.objective == "loss", "few rows"
    Study.from_spec(asked, tmp_path / "run").run()  # the same spec goes on with it
    explored, confirmed = explore.STAGE.need(study.record), confirm.STAGE.need(study.record)
    assert (
        (explored.metric, explored.direction) == (confirmed.metric, confirmed.direction) == ("valid_loss", "minimize")
    )
    rows = read_trials(study.record, "explore")
    assert [row.score for row in rows] == [row.metrics["valid_loss"] for row in rows]
    assert explored.best.score == min(row.score for row in rows if row.score is not None)
    ensembled = ensemble.STAGE.need(study.record)
    assert (ensembled.metric, ensembled.direction) == ("accuracy", "maximize")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "ranked by validation valid_loss, minimized" in page
    assert "test accuracy <b>" in page
    assert read_json(tmp_path / "run" / "response.json")


def test_a_trial_function_has_no_loss_of_ours(tmp_path: Path):
    (tmp_path / "task.py").write_text(
        "import lab\n\n@lab.trial_function(metric='score', direction='maximize')\ndef train(trial):\n"
        "    for _ in range(trial.epochs):\n        yield {'score': trial.params['max_lr']}\n"
    )
    value = own_spec({"kind": f"{tmp_path}/task.py:train", "root": "/"})
    value["execution"] = {"engine": "local", "lanes": 1}

    def study(objective: str) -> Study:
        spec = parse_spec(value | {"search": value["search"] | {"objective": objective}})
        return Study.from_spec(spec, tmp_path / objective)

    with pytest.raises(SpecError, match=r"search\.objective: 'loss' is of a lab\.Task; a trial function is ranked by"):
        study("loss").run()
    assert not (tmp_path / "loss").exists()
    auto = study("auto")
    auto.run(until="explore")
    assert explore.STAGE.need(auto.record).metric == "score"
