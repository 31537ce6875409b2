"""How many trainings a study is, and how long they take at the pace that a probe has measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from lab.assignment import Training
from lab.space import ends
from lab.spec import StudySpec
from lab.training.batch_size import batch_sizes
from lab.training.options import OPTIMIZER

if TYPE_CHECKING:
    from lab.execution.engine import Probe
    from lab.tasks.contract import Task, TrialFunction

TRAINS = ("bounds", "explore", "confirm", "final")
"""The stages that train."""


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


def epoch_steps(spec: StudySpec, task: Task | TrialFunction) -> float | None:
    """Optimizer steps of an epoch, the mean where batch sizes are searched; None for a trial function."""
    from lab.tasks.contract import Task
    from lab.training.trainer import steps_per_epoch

    if not isinstance(task, Task):
        return None
    examples = len(task.data("train")[0])
    training = Training(spec.optimizer, spec.batch_size)
    sizes = batch_sizes(spec.batch_size, spec.space)
    return fmean(steps_per_epoch(examples, replace(training, batch_size=size)) for size in sizes)


def training_seconds(spec: StudySpec, probe: Probe, epoch_steps: float, stages: Iterable[str]) -> float:
    """Seconds of these stages' trainings on one lane as the probe found it."""
    from lab.execution.packing import step_ms

    found = trainings(spec, epoch_steps)
    epochs = sum(found[stage][1] for stage in stages)
    steps = epochs * epoch_steps + (found["bounds"][0] * spec.bounds.steps if "bounds" in stages else 0)
    return steps * step_ms(probe) / 1000
