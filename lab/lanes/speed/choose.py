"""The choice of lanes for a spec: which engine runs them, how many there are, and how each of them trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from lab.errors import SpecError
from lab.lanes.engine import Engine, Probe, Watch
from lab.lanes.job import make_job, task_of
from lab.lanes.local import LocalEngine
from lab.lanes.speed.pace import Pace, StepsAhead, find_pace, is_on_cpu
from lab.lanes.speed.packing import narrowed, settle, step_ms
from lab.lanes.speed.thresholds import BESIDE, LONG_S, RAY_START_S
from lab.record.folder import Record
from lab.spec.batch_size import batch_sizes
from lab.spec.execution import ExecutionSpec
from lab.spec.plan import Job, SearchPlan
from lab.spec.processes import processes_of
from lab.spec.study import StudySpec
from lab.tasks.task import TrialFunction
from lab.training.device import pick_device


def open_lanes(
    spec: StudySpec,
    record: Record,
    watch: Watch,
    say: Callable[[str], None],
    address: str | None,
    steps_ahead: StepsAhead,
) -> tuple[Engine, StudySpec]:
    """Open the engine for what is to be trained, and replace every `auto` of a spec by what it can do.

    Raises:
        LabError: the engine cannot be started, or the task not be trained.
    """
    spec = _together(spec)
    execution = spec.execution
    local = LocalEngine(_number(execution.lanes) or 1, watch)
    if execution.engine == "local":
        _require_gpus(spec)
        probe = (
            find_pace(spec, local, *_to_probe(spec, record, local), steps_ahead).fastest if _is_timed(spec) else None
        )
        return local, _settled(spec, record, local, probe, say)
    plain = None
    if address is None and execution.engine == "auto" and _may_be_local(spec):
        pace = find_pace(spec, local, *_to_probe(spec, record, local), steps_ahead)
        if pace.seconds is not None and pace.seconds <= min(_on_ray_s(spec, pace), LONG_S):
            say(f"engine    local: about {pace.seconds:.0f} s of training, which Ray's start would not make shorter")
            return local, _settled(spec, record, local, pace.fastest, say)
        plain = pace.plain
    if address is None and not isinstance(task_of(spec), TrialFunction):
        pick_device(execution.device)  # refused now: lanes have this machine's, and Ray's start takes seconds
    engine = _open_ray(spec, record, watch, say, address)
    try:
        return engine, _settled(spec, record, engine, plain, say)
    except BaseException:
        engine.close()
        raise


def _together(spec: StudySpec) -> StudySpec:
    """The spec with the number of processes that train a lane's model together; where they are several, there is no
    other way to train, and nothing to time.

    Raises:
        SpecError: see `processes_of`, or this machine has fewer cores.
    """
    count = 1 if isinstance(task_of(spec), TrialFunction) else processes_of(spec)
    if count == 1:
        return spec.changed(execution={"processes": 1})
    cores = os.cpu_count() or 1
    if spec.execution.engine == "local" and is_on_cpu(spec) and count > cores:
        raise SpecError("execution.processes", f"{count} is above the {cores} cores of this machine, which train them")
    return spec.changed(execution={"processes": count, "path": "sequential", "width": 1, "stack": 1})


def _require_gpus(spec: StudySpec) -> None:
    """Refuse GPUs for a lane of this process where PyTorch would train on the processor without a word.

    Raises:
        SpecError: there is none.
    """
    per_lane = spec.execution.gpus_per_lane
    if per_lane and is_on_cpu(spec) and not isinstance(task_of(spec), TrialFunction):
        said = f"{per_lane:g} is above the 0 GPUs that PyTorch sees on this machine; leave it out"
        raise SpecError("execution.gpus_per_lane", said)


def _number(value: int | str) -> int | None:
    return value if isinstance(value, int) else None


def _is_timed(spec: StudySpec) -> bool:
    return spec.execution.path == "auto" or spec.execution.width == "auto"


def _may_be_local(spec: StudySpec) -> bool:
    """Whether a probe of the local engine is worth its time.

    A GPU's lane is best kept apart from the driver, and a study gets the lanes that it asks for.
    """
    one = _number(spec.execution.lanes) in (None, 1) and not spec.execution.gpus_per_lane
    return _is_timed(spec) and one and not isinstance(task_of(spec), TrialFunction) and is_on_cpu(spec)


def _on_ray_s(spec: StudySpec, pace: Pace) -> float:
    """Seconds of training on Ray, with lanes on all cores: they share the open trials, so each is narrower than one."""
    assert pace.plain_s is not None  # it is set wherever the other time is
    cores = max(int((os.cpu_count() or 1) / spec.execution.cpus_per_lane), 1)
    lanes = _number(spec.execution.lanes) or min(cores, spec.search.most_open)
    narrow = narrowed(pace.plain, max(spec.search.most_open // lanes, 1))
    of_a_lane_s = pace.plain_s * step_ms(narrow) / step_ms(pace.plain)
    return of_a_lane_s / (lanes * (BESIDE if lanes > 1 else 1.0)) + RAY_START_S


def _open_ray(spec: StudySpec, record: Record, watch: Watch, say: Callable[[str], None], address: str | None) -> Engine:
    say("starting Ray" if address is None else f"joining Ray at {address}")
    from lab.lanes.ray.engine import RayEngine  # here: no other engine needs Ray

    execution = spec.execution
    engine = RayEngine(
        record.folder,
        _number(execution.lanes),
        watch,
        address,
        execution.cpus_per_lane,
        execution.gpus_per_lane,
        execution.device,
        most_lanes=spec.search.most_open,
        hang_s=execution.hang_s,
        task=spec.task,
    )
    for line in engine.warnings if address else ():
        say(line)
    return engine


def _to_probe(spec: StudySpec, record: Record, engine: Engine) -> tuple[Job, int]:
    """The job to be probed, and the most slots that it may have."""
    plan = SearchPlan({}, {}, spec.search.trials, spec.search.epochs)
    widest = _number(spec.execution.width) or max(spec.search.most_open // engine.lanes, 1)
    return make_job(spec, record, engine, "explore", plan, spec.space), widest


def _threads(execution: ExecutionSpec, engine: Engine, probe: Probe | None) -> int:
    """The number of threads that share a step, where the spec does not say."""
    if engine.name == "local":
        return probe.threads if probe is not None else 1
    return max(int(execution.cpus_per_lane), 1)


def _settled(
    spec: StudySpec, record: Record, engine: Engine, probe: Probe | None, say: Callable[[str], None]
) -> StudySpec:
    """The spec with every `auto` settled, so that it can be repeated. Probes the engine where nothing has yet."""
    execution = spec.execution
    threads = _number(execution.threads) or _threads(execution, engine, probe)
    execution = execution.model_copy(update={"threads": threads})
    updates: dict[str, Any] = {"engine": engine.name, "lanes": engine.lanes}
    provenance = dict(spec.provenance)
    if _is_timed(spec):
        job, widest = _to_probe(spec.model_copy(update={"execution": execution}), record, engine)
        if probe is None or probe.threads != threads:
            probe = engine.probe(job, widest)
        probe = narrowed(probe, widest)
        lane = settle(probe, _number(execution.width))
        stack = lane.stack if execution.stack == "auto" else execution.stack
        asked = execution.path in {path for path, _ in probe.milliseconds}
        path = execution.path if asked else lane.path
        updates |= {"path": path, "width": lane.width, "stack": stack}
        slots = f"{lane.width} slots" + (f" in stacks of {stack}" if stack < lane.width else "")
        say(f"lanes     {engine.lanes} x {slots}, {path} ({probe.reason})")
        provenance["probe"] = {"reason": probe.reason, "milliseconds_per_trial_step": probe.timed}
    elif execution.stack == "auto" and not isinstance(task_of(spec), TrialFunction):
        # Nothing is timed: as many stacks as there are batch sizes fill the slots.
        assert isinstance(execution.width, int)  # else it would have been timed
        updates["stack"] = -(-execution.width // len(batch_sizes(spec.batch_size, spec.space)))
    provenance["proposals"] = spec.search.promise
    say(f"proposals {spec.search.promise}")
    settled = spec.model_copy(update={"execution": execution.model_copy(update=updates), "provenance": provenance})
    return settled if settled.execution.path == "function" else _promised(settled, record, engine, say)


def _promised(spec: StudySpec, record: Record, engine: Engine, say: Callable[[str], None]) -> StudySpec:
    """The spec with the promise of its lanes' arithmetic in its provenance. No training depends on it."""
    count = spec.execution.processes
    if count == 1:
        line = engine.self_test(_to_probe(spec, record, engine)[0]).line
    else:  # that tests one process
        line = f"batches are divided among {count} processes; with another number of them a trial's last digits differ"
    say(f"numbers   {line}")
    return spec.model_copy(update={"provenance": {**spec.provenance, "numbers": line}})
