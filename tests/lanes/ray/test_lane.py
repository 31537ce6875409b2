"""What only a cluster can do to a study: a lane's process dies, a lane is never placed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from lab.errors import EngineError, SpecError
from lab.lanes.engine import Engine
from lab.lanes.local import LocalEngine
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.spec.exchange import Progress
from lab.spec.plan import SearchPlan, TaskRef
from lab.spec.trial import Trial
from tests.lanes.processes import descendants
from tests.lanes.test_engines import job, table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lanes_forked")]


def lane_processes() -> list[int]:
    """Processes of this test's Tune trials, by the titles Ray gives them."""
    pids = []
    for process in descendants():
        try:
            title = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if title.startswith(b"ray::") and b".train" in title:
            pids.append(process)
    return pids


def test_a_head_whose_client_server_dies_is_one_line_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.lanes.ray import engine as ray_engine

    def init(**_: object) -> None:
        page = (
            "Traceback (most recent call last):\n  raise\nRuntimeError: Starting Ray client server failed. See x.err\n"
        )
        raise ConnectionAbortedError(f"Initialization failure from server:\n{page}")

    monkeypatch.setattr(ray_engine.ray, "init", init)
    monkeypatch.setattr(ray_engine, "check_address", lambda address: None)
    with pytest.raises(EngineError, match="GRPC_ENABLE_FORK_SUPPORT=0") as refused:
        ray_engine.RayEngine(tmp_path, 1, lambda progress: True, address="ray://head:10001")
    assert str(refused.value).startswith("Ray cannot be joined at ray://head:10001: ")
    assert "\n" not in str(refused.value)


GPUS = """
import os, time
import lab

@lab.trial_function(metric="accuracy", direction="maximize")
def train(trial):
    first, second = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    for epoch in range(trial.epochs):
        time.sleep(0.1)
        yield {"accuracy": 0.5, "first": float(first), "second": float(second)}
"""


def test_a_trial_function_has_several_gpus_to_itself_and_a_lane_that_finds_none_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes GPUs that are only declared; which of them a process sees is all that can be told without any."""
    from lab.lanes.ray.engine import RayEngine

    begin = ray.init
    monkeypatch.setattr(ray, "init", lambda **options: begin(**{**options, "num_cpus": 2, "num_gpus": 4}))
    (tmp_path / "gpus.py").write_text(GPUS)
    params: dict[str, Any] = {"max_lr": 0.01, "cycles": 1, "dropout": 0.1}
    plan = tuple(Trial(params, seed=seed, epochs=4, role="x") for seed in range(4))
    task = TaskRef("gpus.py:train", {}, str(tmp_path))
    engine = RayEngine(tmp_path / "s", 3, lambda progress: True, gpus_per_lane=2)
    work = job(tmp_path / "s", plan=plan, task=task, width=1, lanes=3)
    done: list[Progress] = []
    worker = threading.Thread(target=lambda: done.append(engine.run(work)), daemon=True)
    worker.start()
    worker.join(timeout=400)
    try:
        assert done, "it still waits for the lane that was never placed"
    finally:
        engine.close()
        time.sleep(0.1)
    assert done[0].counts == {"completed": 4}
    had = {(row.metrics["first"], row.metrics["second"]) for row in read_trials(Record(tmp_path / "s"), "explore")}
    assert had <= {(0.0, 1.0), (2.0, 3.0)}
    lanes = json.loads((tmp_path / "s" / "lanes" / "now.json").read_text())["lanes"]
    assert {tuple(lane["gpus"]) for lane in lanes} <= {("0", "1"), ("2", "3")}
    assert len({gpu for lane in lanes for gpu in lane["gpus"]}) == 2 * len(lanes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU that is asked for is here")
def test_a_lane_for_which_this_machine_has_no_gpu_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    from lab.lanes.ray.engine import RayEngine

    with pytest.raises(SpecError, match=r"execution\.gpus_per_lane: 1 is above the 0 GPUs of this machine; give less"):
        RayEngine(tmp_path / "s", None, lambda progress: True, gpus_per_lane=1)
    assert not ray.is_initialized()


class Watch:
    """What the test at hand wants to be told of progress."""

    tell: Callable[[Progress], bool] | None = None

    def __call__(self, progress: Progress) -> bool:
        return self.tell is None or self.tell(progress)


WATCH = Watch()


@pytest.fixture(scope="module")
def engine(lanes_forked: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two lanes and one start of Ray for the tests below; those above start their own, and so have to come first."""
    from lab.lanes.ray.engine import RayEngine

    ray_engine = RayEngine(tmp_path_factory.mktemp("engine"), 2, WATCH, hang_s=3.0)
    yield ray_engine
    ray_engine.close()


def test_a_killed_lane_comes_back_and_its_trials_end_as_if_undisturbed(engine: Engine, tmp_path: Path) -> None:
    killed: list[int] = []

    def watch(progress: Progress) -> bool:
        # Once a wave is closed, so that there is something to lose.
        if progress.closed >= 3 and not killed:
            killed.extend(lane_processes())
            for number in killed:
                os.kill(number, signal.SIGKILL)
        return True

    plan = SearchPlan({"kind": "forest", "startup": 4}, {}, 12, 8)
    slow: dict[str, Any] = {"plan": plan, "checkpoint_s": 0.05, "lanes": 1}
    WATCH.tell = watch
    try:
        progress = engine.run(job(tmp_path / "ray", **slow))
    finally:
        WATCH.tell = None
    assert killed
    assert progress.counts == {"completed": 12}
    LocalEngine(1, lambda progress: True).run(job(tmp_path / "local", **slow))
    assert table(tmp_path / "ray") == table(tmp_path / "local")


FAULTS = """
import ctypes, time
import lab, torch

def lost():
    raise RuntimeError("CUDA error: device-side assert triggered\\nA page of advice.")

@lab.trial_function(metric="accuracy", direction="maximize")
def train(trial):
    for epoch in range(trial.epochs):
        if epoch == 1 and trial.seed == 1:
            ctypes.string_at(0)
        if epoch == 1 and trial.seed == 2:
            time.sleep(3600)
        if epoch == 1 and trial.seed == 3:  # as CUDA does: everything fails from here on
            torch.cuda.is_initialized, torch.cuda.synchronize = lambda: True, lost
        torch.cuda.is_initialized() and torch.cuda.synchronize()
        yield {"accuracy": 0.1 * epoch + 0.01 * trial.seed}
"""


def test_a_trial_that_segfaults_one_that_hangs_and_one_that_loses_the_gpu_are_failed_and_named(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "faults.py").write_text(FAULTS)
    params: dict[str, Any] = {"max_lr": 0.01, "cycles": 1, "dropout": 0.1}
    plan = tuple(Trial(params, seed=seed, epochs=3, role="x") for seed in range(5))
    task = TaskRef("faults.py:train", {}, str(tmp_path))
    progress = engine.run(job(tmp_path / "s", plan=plan, task=task, width=1, lanes=2, max_failed_share=1.0))
    assert progress.counts == {"completed": 2, "failed": 3}
    details = {row.trial.seed: row.detail for row in read_trials(Record(tmp_path / "s"), "explore")}
    named = "killed its lane 3 times, the last time alone in it: "
    assert details[1].startswith(named)
    assert details[2].startswith(f"{named}nothing was finished for")
    assert details[3].startswith(named)


def test_a_folder_that_cannot_be_written_ends_the_run_with_one_line(engine: Engine, tmp_path: Path) -> None:
    """The last for this engine, which gives up."""
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "lanes").write_text("where checkpoints should go")
    with pytest.raises(EngineError, match=r"^lanes were lost for good: lane 0 on \w+: .*cannot be written"):
        engine.run(job(folder, checkpoint_s=0.0, lanes=1))


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "lanes"),
    [
        ([{"CPU": 8.0}], 1, 0, 8),
        ([{"CPU": 8.0}], 3, 0, 2),
        ([{"CPU": 0.0}], 1, 0, 1),
        ([{"CPU": 64.0, "GPU": 4.0}], 1, 1, 4),
        ([{"CPU": 64.0, "GPU": 2.0}], 1, 0.25, 8),
        ([{"CPU": 2.0, "GPU": 4.0}], 1, 1, 2),
        ([{"CPU": 0.0}, {"CPU": 8.0, "GPU": 3.0}, {"CPU": 8.0, "GPU": 3.0}], 1, 2, 2),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, 0, 2),
    ],
)
def test_lanes_are_counted_by_what_they_ask_for(
    nodes: list[dict[str, float]], cpus: float, gpus: float, lanes: int
) -> None:
    from lab.lanes.ray.engine import lanes_for

    assert lanes_for(nodes, cpus, gpus) == lanes
