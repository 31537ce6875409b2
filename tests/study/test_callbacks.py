"""What a program is told while a study runs, and that it can stop it; wherever lanes are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lab
from lab.errors import Interrupted, SpecError, StudyError
from lab.record.trials import read_trials
from lab.spec.study import parse_spec
from lab.stages import STAGES, TRAINS
from lab.stages.explore import Explored
from lab.study.callbacks import StageEnd, TrialEnd
from lab.study.study import Study
from tests.small import small

SPEC = small(
    space={"max_lr": {"low": 0.003, "high": 0.03, "log": True}, "dropout": {"low": 0.0, "high": 0.3}},
    search={"trials": 6, "epochs": 2, "sampler": {"kind": "random"}},
    confirm={"one_cycle": 1, "several": 0, "seeds": 2},
    final={"epochs": 2, "seeds": 1, "snapshots": 1, "controls": "none"},
    execution={"width": 2},
)


def study_in(folder: Path) -> Study:
    return Study.from_spec(parse_spec(SPEC), folder)


def rows_of(study: Study, stage: str = "explore") -> list[tuple[int, Any, float | None]]:
    return [(row.number, row.params, row.score) for row in read_trials(study.record, stage)]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[TrialEnd | StageEnd], set[str]]:
    """A whole study, what was told of it in that order, and the threads that told it."""
    seen: list[TrialEnd | StageEnd] = []
    threads: set[str] = set()

    def see(ended: TrialEnd | StageEnd) -> None:
        seen.append(ended)
        threads.add(threading.current_thread().name)

    study = study_in(tmp_path_factory.mktemp("told") / "run")
    study.run(on_trial_end=see, on_stage_end=see)
    return study, seen, threads


def test_each_trial_and_stage_is_told_once_and_in_order(followed: Any) -> None:
    study, seen, threads = followed
    assert [one.stage for one in seen if isinstance(one, StageEnd)] == [stage.name for stage in STAGES]
    trials = [(one.stage, one.number, one.score) for one in seen if isinstance(one, TrialEnd)]
    kept = [(stage, row.number, row.score) for stage in TRAINS for row in read_trials(study.record, stage)]
    assert sorted(trials) == sorted(kept)
    ends = {one.stage: i for i, one in enumerate(seen) if isinstance(one, StageEnd)}
    assert all(i < ends[one.stage] for i, one in enumerate(seen) if isinstance(one, TrialEnd))
    assert threads == {threading.main_thread().name}


def test_what_is_told_is_what_is_kept(followed: Any) -> None:
    study, seen, _ = followed
    first = next(one for one in seen if isinstance(one, TrialEnd) and one.stage == "explore")
    row = read_trials(study.record, "explore")[first.number]
    assert (first.params, first.curve, first.metrics, first.seed) == (
        row.params,
        row.curve,
        row.metrics,
        row.trial.seed,
    )
    explored = next(one for one in seen if isinstance(one, StageEnd) and one.stage == "explore")
    assert isinstance(explored.artefact, Explored)
    assert explored.artefact.trials == 6
    assert explored.said.startswith("6 trials")


@pytest.mark.parametrize("which", ["on_trial_end", "on_stage_end"])
def test_one_that_raises_ends_the_study_in_one_line_and_it_goes_on(tmp_path: Path, followed: Any, which: str) -> None:
    def breaks(ended: TrialEnd | StageEnd) -> None:
        if ended.stage == "explore":
            raise ValueError("no\nroom")

    study = study_in(tmp_path / "run")
    with pytest.raises(StudyError) as ended:
        study.run(**{which: breaks})
    said = str(ended.value)
    assert said.startswith(f"{which} raised at ")
    assert "ValueError: no room; what has ended is saved, and the study can be resumed" in said
    assert "\n" not in said
    assert isinstance(ended.value.__cause__, ValueError)
    again: list[TrialEnd] = []
    study.run(until="explore", on_trial_end=again.append)
    assert rows_of(study) == rows_of(followed[0])
    assert len(again) < 6, "those that had ended are told of once"


def _by_callback(study: Study, stop: Callable[[], object]) -> None:
    study.run(on_trial_end=lambda ended: stop() if ended.stage == "explore" else None)


def _by_thread(study: Study, stop: Callable[[], object]) -> None:
    def watch(ended: TrialEnd) -> None:
        if ended.stage == "explore":
            thread = threading.Thread(target=stop)
            thread.start()
            thread.join()

    study.run(on_trial_end=watch)


@pytest.mark.parametrize("how", [_by_callback, _by_thread])
def test_it_is_stopped_as_by_ctrl_c_and_goes_on(tmp_path: Path, followed: Any, how: Callable[..., None]) -> None:
    study = study_in(tmp_path / "run")
    assert study.stop() is False, "nothing runs yet"
    with pytest.raises(Interrupted):
        how(study, study.stop)
    assert study.stop() is False
    study.run(until="explore")
    assert rows_of(study) == rows_of(followed[0])


def test_a_stop_between_stages_ends_it_before_the_next(tmp_path: Path) -> None:
    study = study_in(tmp_path / "run")
    with pytest.raises(Interrupted, match="stopped before stage 'explain'"):
        study.run(on_stage_end=lambda ended: study.stop() if ended.stage == "explore" else None)
    study.run(until="explain")


def test_what_cannot_be_called_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="on_trial_end: 3 cannot be called"):
        study_in(tmp_path / "run").run(on_trial_end=3)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("lanes_forked")
def test_lanes_on_ray_are_told_of_in_the_driver(tmp_path: Path) -> None:
    seen: list[TrialEnd] = []
    ends: list[tuple[str, list[int]]] = []

    def breaks(ended: StageEnd) -> None:
        if ended.stage == "bounds":
            return
        ends.append((ended.stage, sorted(one.number for one in seen)))
        raise ValueError("no room")

    study = study_in(tmp_path / "run")
    with pytest.raises(StudyError, match=r"^on_stage_end raised at stage explore: .*ValueError: no room"):
        study.run(engine="ray", lanes=2, width=1, until="explore", on_trial_end=seen.append, on_stage_end=breaks)
    assert ends == [("explore", [0, 1, 2, 3, 4, 5])]


def test_both_are_public() -> None:
    assert lab.TrialEnd is TrialEnd
    assert lab.StageEnd is StageEnd
