"""What a study will cost, before anything runs."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from lab.assignment import Job, Training
from lab.errors import TaskError
from lab.space import ends
from lab.spec import StudySpec
from lab.study import hyperparameter_doubts
from lab.tasks.builtin import BUILTIN
from lab.tasks.registry import describe, load_task
from lab.training.batch_size import BATCH_SIZE, batch_sizes
from lab.training.options import OPTIMIZER

if TYPE_CHECKING:
    from lab.execution.engine import Probe


def trainings(spec: StudySpec, epoch_steps: float | None) -> dict[str, tuple[int, int]]:
    """Trainings and epochs of each stage that trains; a range test is counted in steps.

    Args:
        epoch_steps: optimizer steps of an epoch, where they are known.
    """
    search_steps = None if epoch_steps is None else spec.search.trials * spec.search.epochs * epoch_steps
    kinds = len(ends(spec.space[OPTIMIZER])) if OPTIMIZER in spec.space else 1
    tests = kinds * len(spec.bounds.affordable(search_steps)) * spec.bounds.seeds
    bounds = tests if spec.needs_range_test else 0
    confirm = (spec.confirm.one_cycle + spec.confirm.several) * spec.confirm.seeds
    final, short = spec.final, max(spec.final.epochs // spec.final.snapshots, 1)
    shorts = final.snapshots if final.snapshots > 1 else 0
    return {
        "bounds": (bounds, 0),
        "explore": (spec.search.trials, spec.search.trials * spec.search.epochs),
        "confirm": (confirm, confirm * spec.search.epochs),
        "final": (final.seeds * (2 + shorts), final.seeds * (2 * final.epochs + shorts * short)),
    }


def estimate(spec: StudySpec, probe: bool) -> list[str]:
    """Lines for the user: what the data look like, trainings by stage, optimizer steps, and, probed, seconds.

    Raises:
        TaskError: probing has shown that the task breaks its contract.
    """
    description = describe(spec.task.ref())
    examples = description.train_examples
    # Of a user's file it is not known yet whether it holds a trial function, whose parameters may be called anything.
    sizes = batch_sizes(spec.batch_size, spec.space if spec.task.kind in BUILTIN else {})
    epoch_steps = None if examples is None else fmean(examples // size for size in sizes)
    found = trainings(spec, epoch_steps)
    lines = [f"data     {fact}" for fact in description.facts]
    lines += [f"warning  {doubt}" for doubt in description.warnings]
    lines += [f"{stage:8} {n:5} trainings, {epochs:6} epochs" for stage, (n, epochs) in found.items() if n]
    total = sum(n for n, _ in found.values())
    epochs = sum(epochs for _, epochs in found.values())
    steps = None
    if len(sizes) > 1:
        lines.append(
            f"groups   by batch_size {', '.join(map(str, sizes))}: each is trained in stacked models of its own"
        )
    if epoch_steps is not None:
        steps = round(epochs * epoch_steps) + found["bounds"][0] * spec.bounds.steps
    lines.append(f"in all   {total:5} trainings, {epochs:6} epochs" + (f", {steps} optimizer steps" if steps else ""))
    if not probe:
        lines.append("time: not measured; --probe measures it on this machine")
        return lines
    lines += [f"warning  {doubt}" for doubt in hyperparameter_doubts(spec)]
    return [*lines, *_probed(spec, epochs, found["bounds"][0])]


def _probed(spec: StudySpec, epochs: int, range_tests: int) -> list[str]:
    from lab.execution.packing import Packing, cost

    result, steps_per_epoch = _probe(spec)
    if not result.milliseconds or steps_per_epoch is None:
        return [f"path {result.path}: {result.reason}; its time is not known before it runs"]
    steps = epochs * steps_per_epoch + range_tests * spec.bounds.steps
    packing = Packing(result.path, result.width, result.stack)
    seconds = steps * cost(result.milliseconds, packing, prod(result.groups.values())) / 1000
    if not seconds > 0:
        raise TaskError("the probe measured no time")
    timed = ", ".join(f"{name} {ms:.3f}" for name, ms in result.timed.items())
    stacks = f" in stacks of {result.stack}" if result.stack < result.width else ""
    alike = ", if a step takes as long at every batch size" if BATCH_SIZE in result.groups else ""
    return [
        f"path {result.path}, width {result.width}{stacks}: {result.reason}",
        f"milliseconds per trial and step: {timed}",
        f"about {seconds:.0f} s on one lane of this machine, without Ray's start" + alike,
    ]


def _probe(spec: StudySpec) -> tuple[Probe, float | None]:
    """Probe a study's task in this process; with the optimizer steps of an epoch, None for a trial function.

    Where batch sizes are searched, their mean over them.
    """
    from lab.execution.probe import probe
    from lab.tasks.contract import Task
    from lab.training.trainer import steps_per_epoch

    task = load_task(spec.task.ref())
    execution = spec.execution
    training = Training(spec.optimizer, spec.batch_size, execution.path, execution.threads, execution.device)
    job = Job(
        stage="probe",
        folder=Path(),
        task=spec.task.ref(),
        space=spec.space,
        recipe=spec.schedule.recipe(),
        training=training,
        direction=task.direction,
        metric=task.metric,
        seed=spec.seed,
        width=1,
        lanes=1,
        plan=(),
    )
    steps = None
    if isinstance(task, Task):
        examples = len(task.data("train")[0])
        sizes = batch_sizes(spec.batch_size, spec.space)
        steps = fmean(steps_per_epoch(examples, replace(training, batch_size=size)) for size in sizes)
    return probe(job, widest=max(spec.search.trials // 4, 1)), steps
