"""The runs of trials: live, of bounded number, each once, and none for what is not shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import Record
from lab.record.trials import TrialRow
from lab.report.wandb_runs.identity import Identity
from lab.report.wandb_runs.trial_runs import MOST_OPEN, TrialRuns, Which
from lab.spec.trial import Outcome, Trial
from tests.small import small_spec


@dataclass
class Run:
    id: str
    name: str
    starting_step: int = 0
    points: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def define_metric(self, name: str, **more: Any) -> None: ...

    def log(self, values: dict[str, Any], step: int) -> None:
        assert self.exit_code is None
        assert step == values["epoch"]
        self.points.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code

    @property
    def epochs(self) -> list[int]:
        return [point["epoch"] for point in self.points]


class Service:
    """Begins runs that go nowhere; of some of them a server has the first epochs."""

    def __init__(self, has: int = 0) -> None:
        self.runs: list[Run] = []
        self.most_open = 0
        self.has = has

    def begin(self, run_id: str, name: str, *_: Any, lean: bool) -> Run:
        self.runs.append(Run(run_id, name, self.has + 1 if self.has else 0))
        self.most_open = max(self.most_open, sum(run.exit_code is None for run in self.runs))
        return self.runs[-1]

    def check(self) -> None: ...


def _runs(folder: Path, service: Any, which: Which = "all", where: str = "here", again: bool = False) -> TrialRuns:
    spec = small_spec()
    return TrialRuns(spec, service, Identity(spec, Record(folder)), which, where, again)


def _row(number: int, epochs: int, outcome: Outcome | None = None) -> TrialRow:
    trial = Trial({"max_lr": 0.01 * (1 + number), "cycles": 1, "weight_decay": 0.1, "dropout": 0.0}, number, 3)
    return TrialRow(
        number, trial, outcome, 0.5 if outcome else None, {epoch: epoch / 4 for epoch in range(1, epochs + 1)}
    )


def test_epochs_are_logged_as_they_end(tmp_path: Path):
    service = Service()
    runs = _runs(tmp_path, service)
    for epochs in (0, 1, 1, 3):
        runs.take({"explore": [_row(0, epochs)]})
        (run,) = service.runs
        assert run.epochs == [*range(1, epochs + 1)]
    assert [point["score"] for point in run.points] == [0.25, 0.5, 0.75]
    assert run.exit_code is None
    runs.take({"explore": [_row(0, 3, Outcome.DIVERGED)]})
    assert (run.exit_code, run.summary["outcome"], run.epochs) == (0, "diverged", [1, 2, 3])


def test_no_more_runs_are_open_than_are_allowed_and_none_is_left_out(tmp_path: Path):
    service, many = Service(), 3 * MOST_OPEN
    runs = _runs(tmp_path, service)
    for epochs in (1, 2):
        runs.take({"explore": [_row(number, epochs) for number in range(many)]})
        assert [run.name for run in service.runs] == [f"explore-{number}" for number in range(MOST_OPEN)]
    runs.take({"explore": [_row(number, 3, Outcome.COMPLETED) for number in range(many)]})
    assert sorted(run.name for run in service.runs) == sorted(f"explore-{number}" for number in range(many))
    assert all(run.epochs == [1, 2, 3] and run.exit_code == 0 for run in service.runs)
    assert service.most_open <= MOST_OPEN + 1


def test_what_has_gone_out_whole_does_not_go_out_twice(tmp_path: Path):
    before, after = Service(), Service()
    _runs(tmp_path, before).take({"explore": [_row(0, 3, Outcome.COMPLETED), _row(1, 1)]})
    ended = {"explore": [_row(0, 3, Outcome.COMPLETED), _row(1, 3, Outcome.COMPLETED)]}
    _runs(tmp_path, after).take(ended)
    assert [run.name for run in after.runs] == ["explore-1"]
    assert after.runs[0].id == before.runs[-1].id
    for where, again, names in (("here", False, []), ("here", True, [0, 1]), ("elsewhere", False, [0, 1])):
        last = Service()
        _runs(tmp_path, last, where=where, again=again).take(ended)
        assert [run.name for run in last.runs] == [f"explore-{number}" for number in names]


def test_a_run_that_goes_on_has_no_epoch_twice(tmp_path: Path):
    service = Service(has=2)
    _runs(tmp_path, service).take({"explore": [_row(0, 3, Outcome.COMPLETED)]})
    assert service.runs[0].epochs == [3]


def test_a_trial_that_is_trained_anew_under_an_old_number_is_another(tmp_path: Path):
    service = Service()
    row = _row(0, 3, Outcome.COMPLETED)
    other = replace(row, trial=replace(row.trial, params={**row.params, "max_lr": 0.5}))
    for one in (row, other):
        _runs(tmp_path, service).take({"confirm": [one]})
    assert len({run.id for run in service.runs}) == 2


def test_a_preempted_trial_has_no_run_unless_it_was_begun(tmp_path: Path):
    service = Service()
    runs = _runs(tmp_path, service)
    runs.take({"explore": [_row(0, 1), _row(1, 1, Outcome.PREEMPTED)]})
    runs.take({"explore": [_row(0, 1, Outcome.PREEMPTED)]})
    assert [(run.name, run.exit_code) for run in service.runs] == [("explore-0", 130)]


@pytest.mark.parametrize(
    ("which", "names"), [("all", ["explore-0", "explore-1", "confirm-0", "final-0"]), ("none", [])]
)
def test_whose_runs_there_are(tmp_path: Path, which: Which, names: list[str]):
    service = Service()
    ended = _row(0, 3, Outcome.COMPLETED)
    trials = {"explore": [ended, _row(1, 3, Outcome.COMPLETED)], "confirm": [ended], "final": [ended]}
    _runs(tmp_path, service, which).take({"bounds": [ended], "refit": [ended], **trials})
    assert [run.name for run in service.runs] == names


def test_the_best_trials_have_runs_once_they_are_known(tmp_path: Path):
    service = Service()
    runs = _runs(tmp_path, service, "best")
    runs.take({"explore": [_row(number, 3, Outcome.COMPLETED) for number in range(4)]})
    assert service.runs == []
    runs.choose({1, 3})
    runs.take({"final": [_row(0, 1)]})
    assert [run.name for run in service.runs] == ["explore-1", "explore-3", "final-0"]
    runs.close()
    assert [run.exit_code for run in service.runs] == [0, 0, 130]


def test_a_damaged_list_of_what_was_sent_says_of_nothing_that_it_was(tmp_path: Path):
    (tmp_path / "wandb_run.json").write_text('{"id": "0123456789abcdef", "sent": {"here": [1, "x"], "there": 3}}')
    identity = Identity(small_spec(), Record(tmp_path))
    assert (identity.study, identity.sent("here"), identity.sent("there")) == ("0123456789abcdef", set(), set())
