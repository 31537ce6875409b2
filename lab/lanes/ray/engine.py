"""Lanes on a Ray cluster: one Ray Tune trial is one lane.

Tune places the lanes, restarts them and grows with the cluster; which trials they train is the ledger's business.
The ledger lives in one actor, the coordinator, on the driver's node. Lanes live as long as the study, so a stage costs
no process start; between stages they ask the coordinator what comes next.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import ray
from ray import tune
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lab.errors import EngineError, EngineLost, Interrupted, LabError, SpecError, StudyError
from lab.lanes.engine import Probe, Promise, Watch
from lab.lanes.live_status import LiveStatus
from lab.lanes.ray import code_transfer
from lab.lanes.ray.address import check_address
from lab.lanes.ray.coordinator import CALLS_AT_ONCE, Coordinator, Look, Question
from lab.lanes.ray.data_transfer import DataTransfer, leave_reader
from lab.lanes.ray.lane import lane_main, said
from lab.lanes.ray.lifeline import SAVED, Lifeline
from lab.spec.exchange import Progress
from lab.spec.plan import Job, TaskRef
from lab.training.arithmetic import inherited

_POLL_S = 0.05
_ANSWER_S = 1.0
"""Seconds to wait for the coordinator before Ray is looked for. Its ledger may be busy for long."""
_STOP_S = 8.0
"""Seconds after a request to stop until running epochs are abandoned. What was finished is saved already."""
_MOST_PENDING = 512
"""Maximum number of lanes that wait for nodes to join."""
_SECRETS = ("PGPASSWORD", "PGPASSFILE", "PGSSLROOTCERT")
"""Variables of the driver that the ledger needs. They travel as an argument, so that no log or dashboard has them."""
_CLIENT_DIED = "Starting Ray client server failed"
_CLIENT_ADVICE = (
    "the head's process for this driver died as it began; try again, and where it repeats start the head with "
    "GRPC_ENABLE_FORK_SUPPORT=0 (gRPC's handlers can abort a process that the head forks)"
)


class _OtherThreads(io.TextIOBase):
    """A standard output that drops what this thread prints: Tune's tables, which `verbose=0` does not silence."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._muted = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._muted else self._out.write(text)

    def flush(self) -> None:
        self._out.flush()


def lanes_for(nodes: Iterable[Mapping[str, float]], cpus_per_lane: float, gpus_per_lane: float) -> int:
    """Number of lanes that fit into the resources of a cluster's nodes, at least one. No lane spans two nodes."""
    asked = {"CPU": cpus_per_lane} | ({"GPU": gpus_per_lane} if gpus_per_lane else {})
    return max(sum(int(min(node.get(name, 0) / count for name, count in asked.items())) for node in nodes), 1)


class RayEngine:
    """Starts a local Ray or joins a cluster, and keeps lanes on it.

    Args:
        lanes: how many; None: as many as the machines have GPUs, or else CPUs, for. On a cluster, further lanes then
            come with nodes that join, and are what an autoscaler sees as pending.
        most_lanes: no more than this where `lanes` is None.
        address: of a cluster, as `ray.init` takes it; None starts Ray on this machine, on loopback.
        gpus_per_lane: may be a fraction; 0 becomes 1 where there are GPUs and `device` does not say `cpu`.
        hang_s: a lane that finishes nothing for so long, and for 20 times its longest epoch, is restarted.
        task: shipped to the cluster's nodes where it is a user's file.

    Raises:
        EngineError: Ray cannot be started or reached, or the cluster cannot write to the study folder.
        SpecError: this machine has not the GPUs of one lane.
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
        hang_s: float = 900.0,
        task: TaskRef | None = None,
    ) -> None:
        leave_reader(task)
        self._watch = watch
        self._live_status = LiveStatus()
        self._data_transfer = DataTransfer()
        self._fatal: list[str] = []
        self._lifeline = Lifeline()
        self._scratch = Path(tempfile.mkdtemp(prefix="lab-lanes-"))
        module = code_transfer.pack(task, self._scratch) if task and address else None
        self._dashboard = self._start_ray(address, (lanes or 0) * cpus_per_lane, module)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if address is None:
            self._check_gpus(gpus_per_lane, max((node.get("GPU", 0) for node in nodes), default=0))
        self._lifeline.hold()
        if not gpus_per_lane and device != "cpu" and any(node.get("GPU", 0) >= 1 for node in nodes):
            gpus_per_lane = 1
        self.lanes = lanes or min(lanes_for(nodes, cpus_per_lane, gpus_per_lane), most_lanes)
        most = self.lanes if lanes or address is None else max(min(most_lanes, _MOST_PENDING), self.lanes)
        self._coordinator: Any = self._start_coordinator(most - self.lanes, hang_s)
        if address is not None:
            self._check_folder(folder)
        resources: dict[str, float] = {"cpu": cpus_per_lane}
        if gpus_per_lane:
            resources["gpu"] = gpus_per_lane
        shared = {"coordinator": self._coordinator, "task_module": module.name if module else None}
        tuner = tune.Tuner(
            tune.with_resources(lane_main, resources),
            param_space={"lane": tune.grid_search(list(range(most))), **shared},
            run_config=tune.RunConfig(
                name="lanes",
                # Tune's own state is never used again, and a full study folder must not stop it.
                storage_path=str(self._scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=-1),
            ),
        )
        self._tune = threading.Thread(target=self._keep_lanes, args=(tuner,), daemon=True, name="ray-tune")
        self._tune.start()

    @staticmethod
    def _start_coordinator(spare: int, hang_s: float) -> Any:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # Signs of life are heard while the ledger is busy, for instance with a fit of the forest.
        actor = ray.remote(concurrency_groups={"beats": 1})(Coordinator)
        secrets = {name: os.environ[name] for name in _SECRETS if name in os.environ}
        options = {"num_cpus": 0, "scheduling_strategy": here, "max_concurrency": CALLS_AT_ONCE}
        return actor.options(**options).remote(spare, hang_s, secrets)

    @staticmethod
    def _start_ray(address: str | None, cpus: float, task_module: Path | None = None) -> str:
        """Start or join a cluster; its dashboard's URL, or an empty string."""
        if address is not None:
            check_address(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        # Tune's thread may outlive `close` by a moment; it must not start a new Ray when it finds none.
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
        os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(32 * 2**20))
        os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        try:
            with _own_signals():
                if address is None:
                    local = {"num_cpus": max(int(cpus), os.cpu_count() or 1), "object_store_memory": 256 * 2**20}
                    with _on_loopback():  # GPUs are counted by Ray itself
                        context = ray.init(include_dashboard=False, **local, **quiet)
                else:
                    context = ray.init(address=address, runtime_env=_runtime_env(task_module), **quiet)
        except Exception as error:  # ray raises many kinds here: connection, version, resources
            said = f"Ray cannot be started or reached ({type(error).__name__}: {error})"
            if _CLIENT_DIED in said:
                said = f"Ray cannot be joined at {address}: {_CLIENT_ADVICE}"
            raise EngineError(said) from error
        # Ray prints pages of its logs where one of its processes has died; what matters of it is said in a line.
        ray._private.worker._worker_logs_enabled = False
        return str(context.dashboard_url or "")

    def _check_gpus(self, per_lane: float, here: float) -> None:
        """A local Ray would wait for ever for a lane's GPUs that are not there; a cluster may grow."""
        if per_lane > here:
            ray.shutdown()
            shutil.rmtree(self._scratch, ignore_errors=True)
            advice = "give less, or the --address of a cluster that has them"
            raise SpecError(
                "execution.gpus_per_lane", f"{per_lane:g} is above the {here:g} GPUs of this machine; {advice}"
            )

    def _check_folder(self, folder: Path) -> None:
        """The coordinator writes the study folder, and the driver reads it: they must see the same one."""
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / f".seen-{uuid.uuid4().hex}"
        mark.touch()
        try:
            if not ray.get(self._coordinator.sees.remote(str(mark.resolve()))):
                advice = "use a folder that both see, or 'lab cluster submit'"
                raise EngineError(f"the cluster's head does not see the study folder {folder.resolve()}; {advice}")
        finally:
            mark.unlink()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the cluster that was joined."""
        addresses = {str(node.get("NodeManagerAddress", "")) for node in ray.nodes()}
        if os.environ.get("RAY_AUTH_MODE") == "token" or all(a.startswith("127.") for a in addresses):
            return ()
        return ("warning: this cluster asks for no token, and whoever reaches it can run code; see cluster/README.md",)

    def _keep_lanes(self, tuner: tune.Tuner) -> None:
        # Each lane that dies would print a page of traceback; the trials hold what a user needs of it.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        try:
            with contextlib.redirect_stdout(_OtherThreads(sys.stdout)):
                results = tuner.fit()
            self._fatal += [str(error).strip().splitlines()[-1] for error in results.errors]
        # Whatever ended Tune ends the lanes; the driver must learn of it. Ray exits what waits when it is shut down.
        except (Exception, SystemExit) as error:
            self._fatal.append(f"{type(error).__name__}: {error}")

    def probe(self, job: Job, widest: int) -> Probe:
        finding = self._ask("probe", job, widest)
        assert isinstance(finding, Probe)  # by the question
        return finding

    def self_test(self, job: Job) -> Promise:
        finding = self._ask("self_test", job)
        assert isinstance(finding, Promise)  # by the question
        return finding

    def _ask(self, question: Question, job: Job, *arguments: Any) -> Probe | Promise:
        """Ask a question, and wait for the answer of the first lane that has time."""
        self._answer(self._coordinator.ask.remote(question, self._data_transfer.in_job(job), *arguments))
        while (finding := self._answer(self._coordinator.finding.remote())) is None:
            self._look()
            time.sleep(_POLL_S)
        if isinstance(finding, LabError):
            raise finding
        assert isinstance(finding, Probe | Promise)  # the coordinator holds nothing else
        return finding

    def run(self, job: Job) -> Progress:
        self._answer(self._coordinator.run.remote(self._data_transfer.in_job(job)))
        look, stop_at = self._look(), None
        while True:
            assert look.progress is not None  # the stage is begun
            progress = look.progress
            self._live_status.write(
                job.folder, progress, look.lanes, {"restarts": look.restarts, "dashboard": self._dashboard}
            )
            if not self._watch(progress) and stop_at is None:
                stop_at = time.monotonic() + _STOP_S
                self._answer(self._coordinator.stop.remote())
            if (progress.finished or stop_at is not None) and look.all_left:
                break
            if stop_at is not None and time.monotonic() > stop_at:
                break
            time.sleep(_POLL_S)
            look = self._look()
        self._answer(self._coordinator.end_stage.remote())
        if stop_at is not None and not progress.finished:
            raise Interrupted("stopped; all finished epochs are saved")
        if progress.abort:
            raise StudyError(f"{job.stage}: {progress.abort}")
        return progress

    def _answer(self, reference: Any) -> Any:
        """The coordinator's answer.

        Raises:
            EngineLost: the coordinator is gone, or Ray is.
            LabError: as the coordinator raised it.
        """
        while True:
            self._lifeline.check()
            try:
                return said(reference, _ANSWER_S)
            except ray.exceptions.RayTaskError:  # raised in the coordinator's own code
                raise
            except ray.exceptions.GetTimeoutError:
                continue
            except (ray.exceptions.RayError, OSError) as error:
                self._lifeline.check(at_once=True)
                who = "the process that keeps the trials"
                raise EngineLost(f"{who} has died ({type(error).__name__}); {SAVED}") from None

    def _look(self) -> Look:
        """See how the lanes are, end those that hang, and learn whether they were lost for good."""
        look: Look = self._answer(self._coordinator.look.remote())
        for handle in look.hung:
            ray.kill(ray.cloudpickle.loads(handle))
        fatal = look.fatal or (self._fatal[-1] if self._fatal else "")
        if fatal or not self._tune.is_alive():
            raise EngineError(f"lanes were lost for good: {fatal or 'Ray Tune ended'}")
        return look

    def close(self) -> None:
        try:
            self._lifeline.check(at_once=True)  # where Ray is gone nobody answers, and nothing is waited for
            ray.get(self._coordinator.leave.remote(), timeout=5)
            self._tune.join(timeout=5)
        except Exception:  # noqa: S110 - closing after a failure: there may be nothing left to close
            pass
        ray.shutdown()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _runtime_env(task_module: Path | None) -> dict[str, Any] | None:
    """The runtime environment of the cluster's nodes: the package, the user's files, and this machine's arithmetic."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:  # submitted: files and variables have travelled with the job
        return None
    modules = [str(module) for module in (code_transfer.lab_folder(), task_module) if module]
    return {"py_modules": modules, "excludes": ["**/__pycache__"], "env_vars": inherited()}


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray's processes that start meanwhile listen on loopback only, as they do by themselves on macOS.

    On other systems Ray replaces 127.0.0.1 by the machine's network address, and listens on all interfaces.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    kept, os.environ[name] = os.environ.get(name), "0"
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]
        os.environ |= {} if kept is None else {name: kept}


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the driver's signal handlers: Ray sets its own, with which SIGTERM would end everything unsaved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
