"""Lanes on a Ray cluster: one Ray Tune trial is one lane. The only file that imports ray.

Tune places the lanes, restarts them and grows with the cluster; which trials they train is the ledger's business.
The ledger lives in one actor, the board, on the driver's node. Lanes live as long as the study, so a stage costs
no process start; between stages they ask the board what comes next.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lab.assignment import Attachment, Decision, Job, Progress, Report, Work
from lab.errors import EngineError, Interrupted, LabError, StudyError
from lab.execution.engine import Probe, Watch
from lab.execution.lane import Lane
from lab.execution.probe import probe

if TYPE_CHECKING:
    from lab.ledger import Ledger

_POLL_S = 0.05
_IDLE_S = 0.02
_LANE_RESTARTS = 8


class Board:
    """Holds the ledger of the stage at hand and says to lanes what to do. Runs as a Ray actor."""

    def __init__(self) -> None:
        self._ticket = 0
        self._order: tuple[Literal["wait", "run", "probe", "leave"], Any] = ("wait", None)
        self._ledger: Ledger | None = None
        self._probed: Probe | LabError | None = None
        self._came: set[int] = set()
        self._left: set[int] = set()
        self._stopping = False

    def order(self) -> tuple[int, str, Any]:
        """What lanes have to do now, numbered."""
        return (self._ticket, *self._order)

    def _give(self, kind: Literal["wait", "run", "probe", "leave"], what: Any = None) -> None:
        self._ticket += 1
        self._order = (kind, what)

    # -- the driver's side --------------------------------------------------------------------------------------

    def run(self, job: Job) -> None:
        # Here, not above: lanes import this file, and need none of Optuna and scikit-learn to start.
        from lab.ledger import Ledger

        self._ledger = Ledger(job)
        self._came, self._left = set(), set()
        self._give("run", job)

    def ask_probe(self, job: Job, widest: int) -> None:
        self._probed = None
        self._give("probe", (job, widest))

    def probed(self) -> Probe | LabError | None:
        return self._probed

    def progress(self) -> Progress:
        assert self._ledger is not None  # the driver asks between `run` and `end_stage`
        return self._ledger.progress()

    def stop(self) -> None:
        """Ask lanes to end their epoch, save and stop."""
        self._stopping = True

    def all_left(self) -> bool:
        """Whether every lane that came to the stage is through with it; one that was never placed is not waited for."""
        return self._came <= self._left

    def end_stage(self) -> None:
        if self._ledger is not None:
            self._ledger.release()
        self._ledger = None
        self._give("wait")

    def leave(self) -> None:
        self._give("leave")

    # -- the lanes' side ----------------------------------------------------------------------------------------

    def set_probed(self, found: Probe | LabError) -> None:
        self._probed = found

    # Each call names the ticket it works on. A lane that comes to a stage when it is over, or that was cut off for a
    # while, would else train the next stage's trials by the last stage's job; it gets None, and leaves.

    def left(self, ticket: int, lane: int) -> None:
        if ticket == self._ticket:
            self._left.add(lane)

    def attach(self, ticket: int, lane: int) -> Attachment | None:
        ledger = self._of_stage(ticket)
        if ledger is None:
            return None
        self._came.add(lane)
        return ledger.attach(lane)

    def next(self, ticket: int, lane: int, tick: int, free: tuple[int, ...]) -> Work | None:
        ledger = self._of_stage(ticket)
        return None if ledger is None else ledger.next(lane, tick, free)

    def report(
        self, ticket: int, lane: int, tick: int, reports: tuple[Report, ...]
    ) -> tuple[tuple[Decision, ...], bool] | None:
        ledger = self._of_stage(ticket)
        return None if ledger is None else (ledger.report(lane, tick, reports), self._stopping)

    def checkpoint(self, ticket: int, lane: int, state: bytes) -> bool | None:
        ledger = self._of_stage(ticket)
        if ledger is None:
            return None
        ledger.checkpoint(lane, state)
        return True

    def _of_stage(self, ticket: int) -> Ledger | None:
        return self._ledger if ticket == self._ticket else None


class _StageOver(Exception):  # noqa: N818 - no error: the lane goes back for its next order
    """The stage that a lane works on is over."""


class _RemoteLedger:
    """The ledger's face, as a lane sees it across the cluster, for one stage."""

    def __init__(self, board: Any, ticket: int) -> None:
        self._board = board
        self._ticket = ticket
        self.stopping = False

    def _ask(self, method: str, *arguments: Any) -> Any:
        answer = ray.get(getattr(self._board, method).remote(self._ticket, *arguments))
        if answer is None:
            raise _StageOver
        return answer

    def attach(self, lane: int) -> Attachment:
        found: Attachment = self._ask("attach", lane)
        return found

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work:
        found: Work = self._ask("next", lane, tick, free)
        return found

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]:
        decisions: tuple[Decision, ...]
        decisions, self.stopping = self._ask("report", lane, tick, reports)
        return decisions

    def checkpoint(self, lane: int, state: bytes) -> None:
        self._ask("checkpoint", lane, state)


class _OtherThreads(io.TextIOBase):
    """A standard output that drops what this thread prints: Tune's tables, which `verbose=0` does not silence."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._muted = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._muted else self._out.write(text)

    def flush(self) -> None:
        self._out.flush()


def lane_main(config: dict[str, Any]) -> None:
    """The Tune trainable: follow the board's orders until it says to leave."""
    board, number = config["board"], config["lane"]
    seen = 0
    while True:
        ticket, kind, what = ray.get(board.order.remote())
        if ticket == seen or kind == "wait":
            time.sleep(_IDLE_S)
            continue
        if kind == "leave":
            return
        if kind == "probe":
            if number == 0:
                ray.get(board.set_probed.remote(_probe(*what)))
        elif number < what.lanes:
            with contextlib.suppress(_StageOver):
                _run_stage(number, what, board, ticket)
        seen = ticket


def _probe(job: Job, widest: int) -> Probe | LabError:
    try:
        return probe(job, widest)
    except LabError as error:
        return error


def _run_stage(number: int, job: Job, board: Any, ticket: int) -> None:
    ledger = _RemoteLedger(board, ticket)
    lane = Lane(number, job, ledger)
    while lane.tick():
        if ledger.stopping:
            lane.save()
            break
        if lane.idle:
            time.sleep(_IDLE_S)
    ray.get(board.left.remote(ticket, number))


def lanes_for(resources: Mapping[str, float], cpus_per_lane: float, gpus_per_lane: float) -> int:
    """How many lanes fit into a cluster's resources, at least one; a lane that asks for GPUs is counted by them."""
    share = resources.get("GPU", 0) / gpus_per_lane if gpus_per_lane else resources.get("CPU", 1) / cpus_per_lane
    return max(int(share), 1)


class RayEngine:
    """Starts a local Ray or joins a cluster, and keeps lanes on it.

    Args:
        lanes: how many; None: as many as the machines have GPUs, or else CPUs, for.
        most_lanes: no more than this where `lanes` is None.
        address: of a cluster, as `ray.init` takes it; None starts Ray on this machine, on loopback.
        gpus_per_lane: may be a fraction; 0 becomes 1 where there are GPUs and `device` does not say `cpu`.
    """

    name = "ray"

    def __init__(
        self,
        folder: Path,
        lanes: int | None,
        watch: Watch,
        address: str | None = None,
        cpus_per_lane: float = 1,
        gpus_per_lane: float = 0,
        device: str = "auto",
        most_lanes: int = 1_000_000,
    ) -> None:
        self._watch = watch
        self._fatal: list[str] = []
        self._start_ray(address, (lanes or 0) * cpus_per_lane, (lanes or 0) * gpus_per_lane)
        found = ray.cluster_resources()
        if not gpus_per_lane and device != "cpu" and found.get("GPU", 0) >= 1:
            gpus_per_lane = 1
        self.lanes = lanes or min(lanes_for(found, cpus_per_lane, gpus_per_lane), most_lanes)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board: Any = ray.remote(Board).options(num_cpus=0, max_concurrency=1, scheduling_strategy=here).remote()
        resources: dict[str, float] = {"cpu": cpus_per_lane}
        if gpus_per_lane:
            resources["gpu"] = gpus_per_lane
        tuner = tune.Tuner(
            tune.with_resources(lane_main, resources),
            param_space={"lane": tune.grid_search(list(range(self.lanes))), "board": self._board},
            run_config=tune.RunConfig(
                name="lanes",
                storage_path=str((folder / "lanes" / "tune").resolve()),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_LANE_RESTARTS),
            ),
        )
        self._tune = threading.Thread(target=self._keep_lanes, args=(tuner,), daemon=True, name="ray-tune")
        self._tune.start()

    @staticmethod
    def _start_ray(address: str | None, cpus: float, gpus: float) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        # Tune's thread may outlive `close` by a moment; it must not start a new Ray when it finds none.
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        try:
            if address is None:
                local = {"num_cpus": max(int(cpus), os.cpu_count() or 1), "object_store_memory": 256 * 2**20}
                if gpus:  # else Ray looks for itself
                    local["num_gpus"] = max(int(gpus), 1)
                ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **local, **quiet)
            else:
                ray.init(address=address, **quiet)
        except Exception as error:  # ray raises many kinds here: connection, version, resources
            raise EngineError(f"Ray cannot be started or reached ({type(error).__name__}: {error})") from error

    def _keep_lanes(self, tuner: tune.Tuner) -> None:
        try:
            with contextlib.redirect_stdout(_OtherThreads(sys.stdout)):
                results = tuner.fit()
            self._fatal += [str(error).strip().splitlines()[-1] for error in results.errors]
        except Exception as error:  # whatever ended Tune ends the lanes; the driver must learn of it
            self._fatal.append(f"{type(error).__name__}: {error}")

    def probe(self, job: Job, widest: int) -> Probe:
        ray.get(self._board.ask_probe.remote(job, widest))
        while (found := ray.get(self._board.probed.remote())) is None:
            self._check_lanes()
            time.sleep(_POLL_S)
        if isinstance(found, LabError):
            raise found
        assert isinstance(found, Probe)  # the board holds one or the other
        return found

    def run(self, job: Job) -> Progress:
        self._call(self._board.run.remote(job))
        progress: Progress = ray.get(self._board.progress.remote())
        stopping = False
        while not (progress.finished or (stopping and self._all_left())):
            self._check_lanes()
            time.sleep(_POLL_S)
            progress = ray.get(self._board.progress.remote())
            if not self._watch(progress) and not stopping:
                stopping = True
                ray.get(self._board.stop.remote())
        while not self._all_left():
            self._check_lanes()
            time.sleep(_POLL_S)
        ray.get(self._board.end_stage.remote())
        self._watch(progress)
        if stopping and not progress.finished:
            raise Interrupted("stopped; all finished epochs are saved")
        if progress.abort:
            raise StudyError(f"{job.stage}: {progress.abort}")
        return progress

    def _all_left(self) -> bool:
        return bool(ray.get(self._board.all_left.remote()))

    @staticmethod
    def _call(reference: Any) -> None:
        """Wait for the board; an error of ours that it raised comes out as itself."""
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, LabError) else error) from error

    def _check_lanes(self) -> None:
        if not self._tune.is_alive() or self._fatal:
            raise EngineError(f"lanes were lost for good: {self._fatal[-1] if self._fatal else 'Ray Tune ended'}")

    def close(self) -> None:
        try:
            ray.get(self._board.leave.remote(), timeout=5)
            self._tune.join(timeout=5)
        except Exception:  # noqa: S110 - closing after a failure: there may be nothing left to close
            pass
        ray.shutdown()
