"""From a spec to lanes: which engine runs them, how many there are, and how each of them trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from lab.assignment import SearchPlan
from lab.cost import epoch_steps, training_seconds
from lab.errors import SpecError
from lab.execution.engine import Engine, Probe, Watch
from lab.execution.local import LocalEngine
from lab.execution.packing import narrowed, settle
from lab.record import Record
from lab.spec import StudySpec
from lab.stages.jobs import make_job, task_of
from lab.tasks.contract import TrialFunction
from lab.training.batch_size import batch_sizes
from lab.training.trainer import pick_device

_RAY_START_S = 10.0
"""What a study's end is later by Ray's and its lanes' start and end; 9 to 12 s on two cores."""


def open_lanes(
    spec: StudySpec,
    record: Record,
    watch: Watch,
    say: Callable[[str], None],
    address: str | None,
    stages: Sequence[str],
) -> tuple[Engine, StudySpec]:
    """Open the engine for these stages, and replace every `auto` of a spec by what it can do.

    Raises:
        LabError: the engine cannot be started, or the task not be trained.
    """
    probe = None
    if spec.execution.engine == "local":
        engine: Engine = LocalEngine(_number(spec.execution.lanes) or 1, watch)
    else:
        local = LocalEngine(1, watch)
        if address is None and spec.execution.engine == "auto" and _may_be_local(spec):
            probe = local.probe(*_to_probe(spec, record, local))
        seconds = None if probe is None else _seconds(spec, probe, stages)
        if seconds is not None and not _is_worth_ray(spec, seconds):
            say(f"engine    local: about {seconds:.0f} s of training, of which Ray saves less than its start takes")
            engine = local
        else:
            engine = _open_ray(spec, record, watch, say, address)
    try:
        return engine, _settled(spec, record, engine, probe, say)
    except BaseException:
        engine.close()
        raise


def _number(value: int | str) -> int | None:
    return value if isinstance(value, int) else None


def _may_be_local(spec: StudySpec) -> bool:
    """Whether it is worth the probe: a GPU's lane is best kept apart from the driver, and lanes asked for are given."""
    execution = spec.execution
    timed = execution.path == "auto" or execution.width == "auto"
    one = _number(execution.lanes) in (None, 1) and not execution.gpus_per_lane
    return (
        timed and one and not isinstance(task_of(spec), TrialFunction) and pick_device(execution.device).type == "cpu"
    )


def _is_worth_ray(spec: StudySpec, seconds: float) -> bool:
    """Whether lanes on all cores save more than they cost; on one core too, a study that is long is better there:
    a lane that dies is started again."""
    cores = int((os.cpu_count() or 1) / spec.execution.cpus_per_lane)
    lanes = max(_number(spec.execution.lanes) or min(cores, spec.search.concurrency), 2)
    return seconds * (1 - 1 / lanes) > _RAY_START_S


def _seconds(spec: StudySpec, probe: Probe, stages: Sequence[str]) -> float | None:
    steps = epoch_steps(spec, task_of(spec))
    return None if steps is None or not probe.milliseconds else training_seconds(spec, probe, steps, stages)


def _open_ray(spec: StudySpec, record: Record, watch: Watch, say: Callable[[str], None], address: str | None) -> Engine:
    say("starting Ray" if address is None else f"joining Ray at {address}")
    from lab.execution.ray_tune import RayEngine  # here: no other engine needs Ray

    execution = spec.execution
    engine = RayEngine(
        record.folder,
        _number(execution.lanes),
        watch,
        address,
        execution.cpus_per_lane,
        execution.gpus_per_lane,
        execution.device,
        most_lanes=spec.search.concurrency,
        hang_s=execution.hang_s,
        task=spec.task.ref(),
    )
    for line in engine.warnings if address else ():
        say(line)
    return engine


def _to_probe(spec: StudySpec, record: Record, engine: Engine) -> tuple[Any, int]:
    """The job to be probed, and its most slots."""
    plan = SearchPlan({}, {}, spec.search.trials, spec.search.epochs)
    widest = _number(spec.execution.width) or max(spec.search.concurrency // engine.lanes, 1)
    return make_job(spec, record, engine, "explore", plan, spec.space), widest


def _settled(
    spec: StudySpec, record: Record, engine: Engine, probe: Probe | None, say: Callable[[str], None]
) -> StudySpec:
    """The spec as it can be repeated; probed on the engine where that has not been done."""
    execution = spec.execution
    updates: dict[str, Any] = {"engine": engine.name, "lanes": engine.lanes}
    found = dict(spec.provenance)
    if execution.path == "auto" or execution.width == "auto":
        job, widest = _to_probe(spec, record, engine)
        probe = engine.probe(job, widest) if probe is None else narrowed(probe, widest)
        lane = settle(probe, _number(execution.width))
        stack = lane.stack if execution.stack == "auto" else execution.stack
        asked = execution.path in {path for path, _ in probe.milliseconds}
        path = execution.path if asked else lane.path
        updates |= {"path": path, "width": lane.width, "stack": stack}
        slots = f"{lane.width} slots" + (f" in stacks of {stack}" if stack < lane.width else "")
        say(f"lanes     {engine.lanes} x {slots}, {path} ({probe.reason})")
        found["probe"] = {"reason": probe.reason, "milliseconds_per_trial_step": probe.timed}
    elif execution.stack == "auto" and not isinstance(task_of(spec), TrialFunction):
        # Nothing is timed: as many stacks as there are batch sizes fill the slots.
        updates["stack"] = -(-execution.width // len(batch_sizes(spec.batch_size, spec.space)))
    if execution.gpus_per_lane > 1 and updates.get("path", execution.path) != "function":
        reason = f"{execution.gpus_per_lane:g}: a task's models train on one GPU; more are for a trial function"
        raise SpecError("execution.gpus_per_lane", reason)
    return spec.model_copy(update={"execution": execution.model_copy(update=updates), "provenance": found})
