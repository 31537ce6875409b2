"""The conformance suite that every engine passes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lab.errors import Interrupted, StudyError, TaskError
from lab.lanes.engine import Engine
from lab.lanes.local import LocalEngine
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.spec.exchange import Progress
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.space import Choice, Float, Space
from lab.spec.trial import Outcome, Trial
from lab.tasks.load import load_task
from tests.lanes.processes import listening

SPACE = Space(max_lr=Float(1e-3, 1e-1, log=True), cycles=Choice((1, 2)), dropout=Float(0, 0.5))


class Watch:
    """Remembers progress; says stop once `stop_after` trials are closed."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.stop_after: int | None = None

    def __call__(self, progress: Progress) -> bool:
        self.seen.append(progress)
        return self.stop_after is None or progress.closed < self.stop_after


WATCH = Watch()


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "local":
        yield LocalEngine(2, WATCH)
        return
    from lab.lanes.ray.engine import RayEngine

    request.getfixturevalue("lanes_forked")
    ray_engine = RayEngine(tmp_path_factory.mktemp("engine"), 2, WATCH)
    yield ray_engine
    ray_engine.close()


@pytest.fixture(autouse=True)
def fresh_watch() -> None:
    WATCH.seen, WATCH.stop_after = [], None


def job(folder: Path, **changes: Any) -> Job:
    return replace(
        Job(
            stage="explore",
            folder=folder,
            task=TaskRef("digits"),
            space=SPACE,
            recipe=Recipe(),
            training=Training({"kind": "adamw"}, 64, "stacked"),
            direction="maximize",
            metric="accuracy",
            seed=3,
            width=3,
            lanes=1,
            plan=SearchPlan({"kind": "forest", "startup": 4}, {}, 9, 2),
        ),
        **changes,
    )


def table(folder: Path, stage: str = "explore") -> list[tuple[Any, ...]]:
    rows = read_trials(Record(folder), stage)
    return [(r.number, tuple(r.params.items()), r.outcome, r.score, tuple(r.curve.items()), r.trial.seed) for r in rows]


def rows(folder: Path) -> list[TrialRow]:
    return read_trials(Record(folder), "explore")


def test_every_trial_is_trained_once_and_to_its_end(engine: Engine, tmp_path: Path) -> None:
    progress = engine.run(job(tmp_path))
    assert progress.finished
    assert progress.counts == {"completed": 9}
    assert [r.number for r in rows(tmp_path)] == list(range(9))
    assert all(list(r.curve) == [1, 2] for r in rows(tmp_path))


def test_nothing_listens_beyond_this_machine(engine: Engine, tmp_path: Path) -> None:
    engine.run(job(tmp_path))
    addresses = listening()
    assert all(ip_address(address).is_loopback for address in addresses), addresses
    assert addresses or isinstance(engine, LocalEngine), "Ray's processes were not found"


def test_one_lane_gives_the_values_of_the_local_engine(engine: Engine, tmp_path: Path) -> None:
    engine.run(job(tmp_path / "a"))
    LocalEngine(1, WATCH).run(job(tmp_path / "b"))
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_a_trials_result_follows_from_its_assignment_whatever_the_lanes(engine: Engine, tmp_path: Path) -> None:
    plan = tuple(
        Trial({"max_lr": 0.01 * (i + 1), "cycles": 1, "dropout": 0.1 * i}, seed=i, epochs=2, role="x") for i in range(5)
    )
    engine.run(job(tmp_path / "two", plan=plan, lanes=2, width=2))
    LocalEngine(1, WATCH).run(job(tmp_path / "one", plan=plan, lanes=1, width=2))

    def by_plan(folder: Path) -> list[Any]:
        return sorted((r.plan_index, r.score, tuple(r.curve.items())) for r in rows(folder))

    assert by_plan(tmp_path / "two") == by_plan(tmp_path / "one")


MIXED = Space(
    max_lr=Float(1e-3, 1e-1, log=True),
    batch_size=Choice((64, 128)),
    optimizer=Choice(("adamw", "sgd")),
    dropout=Float(0, 0.5),
)


def test_trials_of_several_groups_share_a_lane_and_each_trains_as_alone(engine: Engine, tmp_path: Path) -> None:
    plan = SearchPlan({"kind": "random"}, {}, 8, 2)
    engine.run(job(tmp_path / "a", space=MIXED, plan=plan, stack=2))
    LocalEngine(1, WATCH).run(job(tmp_path / "b", space=MIXED, plan=plan, stack=2))
    assert table(tmp_path / "a") == table(tmp_path / "b")
    trials = rows(tmp_path / "a")
    assert {r.params["batch_size"] for r in trials} == {64, 128}
    assert {r.params["optimizer"] for r in trials} == {"adamw", "sgd"}
    for row in trials[2::3]:
        alone = (Trial(row.params, row.trial.seed, 2, "x"),)
        LocalEngine(1, WATCH).run(job(tmp_path / str(row.number), space=MIXED, plan=alone, width=2))
        (again,) = rows(tmp_path / str(row.number))
        assert (again.score, again.curve, again.metrics) == (row.score, row.curve, row.metrics)


def test_a_stop_among_several_groups_saves_and_the_rest_is_as_if_undisturbed(engine: Engine, tmp_path: Path) -> None:
    plan = SearchPlan({"kind": "forest", "startup": 4}, {}, 10, 5)
    WATCH.stop_after = 3
    with pytest.raises(Interrupted):
        LocalEngine(1, WATCH).run(job(tmp_path / "a", space=MIXED, plan=plan, stack=2))
    WATCH.stop_after = None
    engine.run(job(tmp_path / "a", space=MIXED, plan=plan, stack=2))
    LocalEngine(1, WATCH).run(job(tmp_path / "b", space=MIXED, plan=plan, stack=2))
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_trials_of_different_lengths_share_a_lane(engine: Engine, tmp_path: Path) -> None:
    plan = tuple(
        Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.0}, seed=i, epochs=e, role="x")
        for i, e in enumerate((1, 4, 2, 3, 1))
    )
    engine.run(job(tmp_path, plan=plan, width=2))
    assert [max(r.curve) for r in rows(tmp_path)] == [1, 4, 2, 3, 1]


def test_snapshots_reach_the_record(engine: Engine, tmp_path: Path) -> None:
    plan = (Trial({"max_lr": 0.01, "cycles": 2, "dropout": 0.0}, seed=0, epochs=4, role="x", keep=True),)
    engine.run(job(tmp_path, plan=plan, width=1))
    assert sorted(p.name for p in (tmp_path / "final").iterdir()) == ["0000-0.safetensors", "0000-1.safetensors"]


def test_a_stop_saves_and_the_rest_is_as_if_undisturbed(engine: Engine, tmp_path: Path) -> None:
    long = SearchPlan({"kind": "forest", "startup": 4}, {}, 12, 6)
    WATCH.stop_after = 3
    with pytest.raises(Interrupted):
        LocalEngine(1, WATCH).run(job(tmp_path / "a", plan=long))
    assert 3 <= sum(r.outcome is Outcome.COMPLETED for r in rows(tmp_path / "a")) < 12
    WATCH.stop_after = None
    engine.run(job(tmp_path / "a", plan=long))
    LocalEngine(1, WATCH).run(job(tmp_path / "b", plan=long))
    assert table(tmp_path / "a") == table(tmp_path / "b")


FAILING = """
from lab.tasks.digits import Digits

class Fails(Digits):
    def model(self, params):
        if params["dropout"] > 0.25:
            raise RuntimeError("no such dropout")
        return super().model(params)

class Diverges(Digits):
    def loss(self, output, target):
        return super().loss(output, target) * float("nan")

class Reduced(Digits):
    def loss(self, output, target):
        return super().loss(output, target).mean()
"""


@pytest.fixture
def bad_task(tmp_path: Path) -> Path:
    (tmp_path / "bad.py").write_text(FAILING)
    return tmp_path


def test_an_exception_fails_its_trial_and_the_study_goes_on(engine: Engine, bad_task: Path, tmp_path: Path) -> None:
    plan = tuple(
        Trial({"max_lr": 0.01, "cycles": 1, "dropout": d}, seed=0, epochs=1, role="x") for d in (0.1, 0.5, 0.2, 0.0)
    )
    task = TaskRef("bad.py:Fails", {}, str(bad_task))
    space = Space({**SPACE, "dropout": Float(0, 0.5)})
    engine.run(job(tmp_path / "s", plan=plan, task=task, space=space, max_failed_share=1.0))
    trials = rows(tmp_path / "s")
    assert [r.outcome for r in trials].count(Outcome.COMPLETED) == 3
    failed = next(r for r in trials if r.outcome is Outcome.FAILED)
    assert "RuntimeError: no such dropout" in failed.detail
    assert "bad.py" in failed.detail


READ_ONCE = """
import os
from pathlib import Path

import lab
from lab.tasks.digits import Digits

class Taken(Digits):
    def data(self, split):
        if split not in self._tensors:
            with (Path(__file__).parent / "read").open("a") as out:
                out.write(f"{os.getpid()}\\n")
        return super().data(split)

    def restore(self, fitted):
        self.hidden = fitted["hidden"]

    def fitted(self):
        return {"hidden": 10}

class Alone(Taken):
    take = lab.Task.take
"""


@pytest.mark.parametrize(("name", "elsewhere"), [("Taken", False), ("Alone", True)])
def test_lanes_are_handed_what_the_driver_has_read(engine: Engine, name: str, elsewhere: bool, tmp_path: Path) -> None:
    """Or read it themselves, where the task does not take it."""
    (tmp_path / "own.py").write_text(READ_ONCE)
    ref = TaskRef(f"own.py:{name}", {}, str(tmp_path))
    task = load_task(ref)
    for stage in ("explore", "confirm"):
        engine.run(job(tmp_path / "s", stage=stage, task=replace(ref, opened=task)))
    processes = set((tmp_path / "read").read_text().split())
    assert (processes == {str(os.getpid())}) != (elsewhere and engine.name == "ray")
    engine.run(job(tmp_path / "t"))
    assert table(tmp_path / "s") == table(tmp_path / "t")


RELATIVE = """
from pathlib import Path
from lab.tasks.digits import Digits

class Relative(Digits):
    def data(self, split):
        assert Path("here.txt").read_text() == "yes"
        return super().data(split)
"""


def test_a_task_opens_what_lies_in_the_drivers_folder(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the file that holds it and the data that it reads may be given by a relative path."""
    (tmp_path / "own.py").write_text(RELATIVE)
    (tmp_path / "here.txt").write_text("yes")
    monkeypatch.chdir(tmp_path)
    plan = (Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.0}, seed=0, epochs=1, role="x"),)
    assert engine.run(job(tmp_path / "s", task=TaskRef("own.py:Relative"), plan=plan)).counts == {"completed": 1}


def test_too_many_failures_end_the_stage_with_the_last_reason(engine: Engine, bad_task: Path, tmp_path: Path) -> None:
    task = TaskRef("bad.py:Fails", {}, str(bad_task))
    space = Space({**SPACE, "dropout": Choice((0.2, 0.4))})
    plan = tuple(Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.4}, seed=0, epochs=1, role="x") for _ in range(8))
    with pytest.raises(StudyError, match="4 of 8 trials failed, the last with: RuntimeError: no such dropout"):
        engine.run(job(tmp_path / "s", plan=plan, task=task, space=space, width=1))


def test_a_trial_function_that_exits_fails_its_trials_and_no_more(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text(
        "import lab, sys\n"
        "@lab.trial_function(metric='accuracy', direction='maximize')\n"
        "def train(trial):\n"
        "    if trial.params['dropout'] > 0.25:\n"
        "        sys.exit(3)\n"
        "    yield {'accuracy': 0.5}\n"
    )
    plan = tuple(
        Trial({"max_lr": 0.01, "cycles": 1, "dropout": d}, seed=0, epochs=1, role="x") for d in (0.1, 0.5, 0.2, 0.0)
    )
    task = TaskRef("exits.py:train", {}, str(tmp_path))
    progress = engine.run(job(tmp_path / "s", plan=plan, task=task, width=1, max_failed_share=1.0))
    assert progress.counts == {"completed": 3, "failed": 1}
    assert "SystemExit: 3" in next(r.detail for r in rows(tmp_path / "s") if r.outcome is Outcome.FAILED)


def test_divergence_is_an_outcome_of_its_own(engine: Engine, bad_task: Path, tmp_path: Path) -> None:
    progress = engine.run(job(tmp_path / "s", task=TaskRef("bad.py:Diverges", {}, str(bad_task))))
    assert progress.counts == {"diverged": 9}
    assert all(r.detail.startswith("training loss nan at step 0") for r in rows(tmp_path / "s"))


def test_the_probe_takes_the_fastest_path_it_timed(engine: Engine, tmp_path: Path) -> None:
    probe = engine.probe(job(tmp_path, training=Training({"kind": "adamw"}, 64, "auto")), widest=4)
    timed = {("sequential", 1), ("stacked", 1), ("stacked", 2), ("stacked", 4)}
    assert timed - {("stacked", 4)} <= set(probe.milliseconds) <= timed, "widths end where they grow slower"
    assert (probe.path, probe.width) in probe.milliseconds


def test_the_probe_refuses_a_task_that_breaks_its_contract(engine: Engine, bad_task: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="must give one value per example"):
        engine.probe(job(tmp_path, task=TaskRef("bad.py:Reduced", {}, str(bad_task))), widest=2)


def test_the_engine_runs_another_job_after_an_error(engine: Engine, tmp_path: Path) -> None:
    assert engine.run(job(tmp_path)).counts == {"completed": 9}


def test_trials_pruned_by_the_forest_end_at_rungs_and_the_same_way_again(engine: Engine, tmp_path: Path) -> None:
    plan = SearchPlan({"kind": "random"}, {"kind": "forest", "startup": 3, "factor": 2}, 14, 4)
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        folder.mkdir()
    engine.run(job(folders[0], plan=plan))
    WATCH.stop_after = 7
    with contextlib.suppress(Interrupted):  # a fast engine may have finished before it was told
        engine.run(job(folders[1], plan=plan))
    WATCH.stop_after = None
    engine.run(job(folders[1], plan=plan))
    assert table(folders[0]) == table(folders[1])
    pruned = [r for r in rows(folders[0]) if r.outcome is Outcome.PRUNED]
    assert pruned
    assert {max(r.curve) for r in pruned} <= {1, 2}


ORDERED = SearchPlan({"kind": "forest", "startup": 4}, {}, 14, 3, concurrency=4)


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """A search in order, on one lane of one slot."""
    folder = tmp_path_factory.mktemp("in order")
    LocalEngine(1, WATCH).run(job(folder, plan=ORDERED, width=1))
    return table(folder)


@pytest.mark.parametrize(("lanes", "width"), [(1, 8), (2, 1), (2, 3)])
def test_the_same_seed_gives_the_same_trials_to_the_last_bit_whatever_the_lanes(
    engine: Engine, in_order: list[tuple[Any, ...]], lanes: int, width: int, tmp_path: Path
) -> None:
    engine.run(job(tmp_path, plan=ORDERED, lanes=lanes, width=width))
    assert table(tmp_path) == in_order


def test_four_lanes_one_after_the_other_give_them_too(in_order: list[tuple[Any, ...]], tmp_path: Path) -> None:
    LocalEngine(4, WATCH).run(job(tmp_path, plan=ORDERED, lanes=4, width=1))
    assert table(tmp_path) == in_order


def test_a_stop_and_other_lanes_afterwards_change_none_of_them(
    engine: Engine, in_order: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    WATCH.stop_after = 5
    with contextlib.suppress(Interrupted):  # a fast engine may have finished before it was told
        engine.run(job(tmp_path, plan=ORDERED, lanes=2, width=2))
    WATCH.stop_after = None
    LocalEngine(1, WATCH).run(job(tmp_path, plan=ORDERED, width=3))
    assert table(tmp_path) == in_order
