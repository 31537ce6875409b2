"""A loop of one's own: asked, told, interrupted, gone on with by lanes; one ledger tells of all of it."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import lab
from lab.errors import RecordError, SpecError, StudyError
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.schedules import OneCycle
from lab.stages.explain import Withheld
from lab.study.own_loop import Asked
from lab.study.study import Study
from tests.small import environment
from tests.small import lab as command

SPACE = lab.Space(depth=lab.Int(1, 8), rate=lab.Float(1e-3, 1.0, log=True))


def error_of(params: Any) -> float:
    return abs(params["depth"] - 3) + abs(math.log10(params["rate"]) + 1)


def begin(folder: Path, trials: int = 12, **more: Any) -> Study:
    return lab.Study(lab.OwnLoop("error", "minimize"), SPACE, name="own", trials=trials, folder=folder, **more)


def loop(study: Study, most: int = 1000) -> list[Asked]:
    asked: list[Asked] = []
    while len(asked) < most and (trial := study.ask()) is not None:
        study.tell(trial, error_of(trial.params))
        asked.append(trial)
    return asked


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Not to be written to."""
    study = begin(tmp_path_factory.mktemp("loop") / "run", trials=20)
    loop(study)
    study.conclude()
    return study


def test_all_that_is_told_is_in_the_table_the_response_and_the_page(concluded: Study) -> None:
    trials = concluded.result.trials
    assert len(trials) == 20
    assert trials["score"].to_list() == [
        error_of({"depth": d, "rate": r}) for d, r in zip(trials["params_depth"], trials["params_rate"], strict=True)
    ]
    assert set(trials["outcome"]) == {"completed"}
    best = concluded.result.best_trial
    assert best is not None
    assert best.score == trials["score"].min()
    response = concluded.result.response
    assert not isinstance(response._artefact, Withheld)
    assert response.importances is not None
    assert (concluded.record.folder / "report.html").stat().st_size > 10_000
    assert "error" in (concluded.record.folder / "report.html").read_text()
    assert concluded.ask() is None


def test_the_journal_is_optuna_s(concluded: Study) -> None:
    storage = JournalStorage(JournalFileBackend(str(concluded.record.journal_path)))
    study = optuna.load_study(study_name="explore", storage=storage)
    assert len(study.trials) == 20
    assert study.best_value == min(concluded.result.trials["score"])


def test_a_loop_is_proposed_what_a_lane_is_proposed(tmp_path: Path) -> None:
    @lab.trial_function(metric="error", direction="minimize")
    def walk(trial: lab.Trial) -> Iterator[dict[str, float]]:
        yield {"error": error_of(trial.params)}

    schedule = {kind: {"kind": "one_cycle", "max_lr": 1.0} for kind in ("one", "several")}
    more = {"search": {"concurrency": None, "sampler": {"kind": "forest", "startup": 4}}, "schedule": schedule}
    lanes = lab.Study(walk, SPACE, name="lanes", trials=10, epochs=1, folder=tmp_path / "lanes", **more)
    lanes.run(engine="local", lanes=1, width=1, until="explore")
    study = begin(tmp_path / "own", trials=10, search={"sampler": {"kind": "forest", "startup": 4}})
    loop(study)
    theirs, mine = (read_trials(one.record, "explore") for one in (lanes, study))
    assert [(row.params, row.trial.seed, row.score) for row in theirs] == [
        (row.params, row.trial.seed, row.score) for row in mine
    ]


def test_it_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole")
    loop(whole)
    first = begin(tmp_path / "parts")
    loop(first, most=4)
    left = first.ask()
    again = begin(tmp_path / "parts")
    taken_up = again.ask()
    assert left is not None
    assert taken_up == left
    again.tell(left, error_of(left.params))
    loop(Study.open(tmp_path / "parts"))
    whole_rows, rows = (read_trials(one.record, "explore") for one in (whole, again))
    assert [(row.number, row.params, row.score) for row in rows] == [
        (row.number, row.params, row.score) for row in whole_rows
    ]


SCRIPT = """
import sys
from pathlib import Path
from tests.study.test_own_loop import begin, error_of
study = begin(Path(sys.argv[1]))
while (trial := study.ask()) is not None:
    print(trial.number, flush=True)
    if sys.stdin.readline().strip() != "go":
        break
    study.tell(trial, error_of(trial.params))
print("end", flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said_by(process: subprocess.Popen[str], answer: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if answer:
        process.stdin.write(f"{answer}\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def test_processes_share_a_study_and_a_killed_one_s_trial_is_handed_out_again(tmp_path: Path) -> None:
    first, second = start(tmp_path / "run"), start(tmp_path / "run")
    try:
        numbers = {said_by(first), said_by(second)}
        assert numbers == {"0", "1"}, "what a living process has is left to it"
        assert said_by(second, "go") == "2"
        first.kill()
        first.wait()
        left = numbers - {said_by_number(tmp_path / "run")}
        third = begin(tmp_path / "run").ask()
        assert third is not None
        assert {str(third.number)} == left
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    study = begin(tmp_path / "run")
    loop(study)
    whole = begin(tmp_path / "whole")
    loop(whole)
    assert len(read_trials(study.record, "explore")) == len(read_trials(whole.record, "explore")) == 12
    assert {str(row.outcome) for row in read_trials(study.record, "explore")} == {"completed"}


def said_by_number(folder: Path) -> str:
    """The one trial that was told of."""
    (ended,) = [row.number for row in read_trials(Record(folder), "explore") if row.outcome is not None]
    return str(ended)


def test_another_machine_s_trial_is_left_to_it_and_may_be_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another")
        there = begin(tmp_path / "run").ask()
    study = begin(tmp_path / "run")
    here = study.ask()
    assert there is not None
    assert here is not None
    assert here.number != there.number
    study.tell(there.number, outcome="failed", detail="its machine is gone")
    study.tell(here, 1.0)
    assert [str(row.outcome) for row in read_trials(study.record, "explore")] == ["failed", "completed"]


def test_threads_share_a_study_and_tell_in_any_order(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", trials=8)
    open_at_once = [study.ask() for _ in range(4)]
    assert len({trial.number for trial in open_at_once if trial}) == 4
    for trial in reversed(open_at_once):
        assert trial is not None
        study.tell(trial.number, error_of(trial.params))
    threads = [threading.Thread(target=loop, args=(study, 2)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert study.ask() is None
    assert sorted(row.number for row in read_trials(study.record, "explore")) == list(range(8))


def test_as_many_are_open_as_the_spec_says(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", search={"concurrency": 2, "sampler": {"kind": "forest", "startup": 2}})
    first, _ = study.ask(), study.ask()
    with pytest.raises(StudyError, match=r"2 trials are open, and search.concurrency is 2; tell of one first"):
        study.ask()
    assert first is not None
    study.tell(first, 1.0)
    assert study.ask() is not None


def test_the_schedule_drives_a_loop_in_pytorch(tmp_path: Path) -> None:
    space = lab.Space(max_lr=lab.Float(1e-3, 0.1, log=True))
    study = lab.Study(lab.OwnLoop(), space, epochs=3, folder=tmp_path / "run")
    trial = study.ask()
    assert trial is not None
    assert (trial.epochs, trial.schedule) == (3, OneCycle(max_lr=float(trial.params["max_lr"])))
    factor = begin(tmp_path / "factor").ask()
    assert factor is not None
    assert factor.schedule == OneCycle(max_lr=1.0)
    assert isinstance(factor.seed, int)


def test_what_ends_otherwise_is_told_so_and_teaches(tmp_path: Path) -> None:
    study = begin(tmp_path / "run")
    for ending in (
        {"score": math.nan},
        {"outcome": "failed", "detail": "no GPU"},
        {"score": np.float32(0.5), "metrics": {"seconds": 3}},
        {"score": torch.tensor(0.25)},
    ):
        trial = study.ask()
        assert trial is not None
        study.tell(trial, **ending)  # type: ignore[arg-type]
    rows = read_trials(study.record, "explore")
    assert [str(row.outcome) for row in rows] == ["diverged", "failed", "completed", "completed"]
    assert [row.detail for row in rows[:2]] == ["error is nan", "no GPU"]
    assert rows[2].metrics == {"seconds": 3.0, "error": 0.5}
    assert "seconds" in study.result.trials


def test_curves_are_kept_and_the_pruner_sees_them(tmp_path: Path) -> None:
    pruner = {"kind": "optuna:ThresholdPruner", "upper": 5.0}
    study = begin(tmp_path / "run", epochs=3, search={"pruner": pruner})
    good, bad, broken = study.ask(), study.ask(), study.ask()
    assert good is not None
    assert bad is not None
    assert broken is not None
    assert study.report(good, 1, 2.0)
    assert study.report(good, 2, 1.0)
    assert not study.report(bad, 1, 9.0)
    assert not study.report(broken, 1, math.inf)
    study.tell(good, 0.5)
    rows = {row.number: row for row in read_trials(study.record, "explore")}
    assert rows[good.number].curve == {1: 2.0, 2: 1.0, 3: 0.5}
    assert [str(rows[one.number].outcome) for one in (good, bad, broken)] == ["completed", "pruned", "diverged"]
    with pytest.raises(SpecError, match="is not one that was asked for"):
        study.tell(bad, 1.0)


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        ({"score": "good"}, "tell.score: 'good' is not a number"),
        ({"score": True}, "tell.score: True is not a number"),
        ({"score": torch.ones(3)}, "tell.score: tensor"),
        ({}, "tell.score: is missing"),
        ({"score": 0.5, "outcome": "failed"}, "tell.score: 0.5 is told beside the outcome 'failed', which has none"),
        ({"outcome": "done"}, "tell.outcome: 'done' is unknown; choices: completed, "),
        ({"outcome": "preempted"}, "tell.outcome: 'preempted' is unknown"),
        ({"outcome": "completed"}, "tell.score: is missing"),
        ({"score": 1.0, "metrics": {"a": "b"}}, "tell.metrics.a: 'b' is not a number"),
        ({"trial": 99, "score": 1.0}, "trial: 99 is not one that was asked for and not told of yet; open are: 0"),
        ({"trial": "first", "score": 1.0}, "trial: 'first' is neither what `ask` gave nor its number"),
    ],
)
def test_what_cannot_be_told_is_one_line_and_changes_nothing(tmp_path: Path, ending: dict[str, Any], says: str) -> None:
    study = begin(tmp_path / "run")
    trial = study.ask()
    with pytest.raises(SpecError) as refused:
        study.tell(ending.pop("trial", trial), **ending)
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)
    (row,) = read_trials(study.record, "explore")
    assert row.outcome is None


def test_too_many_failures_end_it(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", trials=4)
    for _ in range(3):
        trial = study.ask()
        assert trial is not None
        study.tell(trial, outcome="failed", detail="no GPU")
    with pytest.raises(StudyError, match="3 of 4 trials failed, the last with: no GPU"):
        study.ask()


def test_it_may_end_early_and_nothing_is_concluded_from_nothing(tmp_path: Path) -> None:
    study = begin(tmp_path / "run")
    with pytest.raises(StudyError, match="nothing was asked for yet"):
        study.conclude()
    assert not (tmp_path / "run").exists() or not Record(tmp_path / "run").begun
    study.ask()
    with pytest.raises(StudyError, match="told of no trial"):
        study.conclude()
    loop(study, most=3)
    study.ask()
    artefact = study.conclude().artefact("explore")
    assert (artefact["trials"], artefact["ended"]) == (3, "the loop told of 3 of 12 trials")
    with pytest.raises(StudyError, match="the search is complete"):
        study.tell(3, 1.0)
    with pytest.raises(StudyError, match="enqueue: the search is complete"):
        study.enqueue({"depth": 1})


def test_lanes_go_on_with_what_a_loop_began(tmp_path: Path) -> None:
    space = lab.Space(max_lr=lab.Float(0.003, 0.03, log=True), dropout=lab.Float(0.0, 0.3))
    study = lab.Study("digits", space, trials=4, epochs=1, folder=tmp_path / "run")
    trial, left = study.ask(), study.ask()
    assert trial is not None
    assert left is not None
    fitted = lab.fit_one_cycle("digits", **trial.params, epochs=trial.epochs, seed=trial.seed, quiet=True)
    study.tell(trial, fitted.score)
    result = study.run(engine="local", width=2, until="explore")
    rows = read_trials(study.record, "explore")
    assert [str(row.outcome) for row in rows] == ["completed"] * 4
    assert rows[0].score == fitted.score
    assert rows[1].params == left.params, "the lane took over what was left open"
    assert len(result.trials) == 4


def test_a_rate_from_the_range_test_needs_the_range_test(tmp_path: Path) -> None:
    study = lab.Study("digits", lab.Space(max_lr=lab.FromBounds()), trials=4, epochs=1, folder=tmp_path / "run")
    with pytest.raises(SpecError, match=r"space.max_lr: .*run\(until='bounds'\) first"):
        study.ask()
    assert not (tmp_path / "run").exists()


def test_a_study_of_a_loop_is_looked_at_as_any_other(concluded: Study, tmp_path: Path) -> None:
    folder = concluded.record.folder
    for words in (
        ("status", folder),
        ("show", folder),
        ("ask", folder, "--set", "depth=2"),
        ("status", folder, "--json"),
    ):
        done = command("study", *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert "lab study resume" not in done.stdout
    done = command("study", "resume", folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "study.ask(), study.tell()" in done.stderr
    shutil.copytree(folder, tmp_path / "copy")
    done = command("study", "extend", tmp_path / "copy", "--trials", "+2", "--trust")
    assert (done.returncode, done.stderr) == (0, "")
    assert begin(tmp_path / "copy", trials=22).ask() is not None
    done = command("predict", folder, "--input", "x.npz")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_another_study_in_the_folder_is_refused(concluded: Study) -> None:
    with pytest.raises(RecordError, match="holds another study"):
        lab.Study(lab.OwnLoop("error"), SPACE, name="own", trials=20, folder=concluded.record.folder).ask()


@pytest.mark.parametrize(
    ("options", "says"),
    [({"metric": ""}, "task.metric: '' is no name"), ({"direction": "up"}, "task.direction: 'up' is unknown")],
)
def test_a_loop_of_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        lab.OwnLoop(**options)
