"""How many trainings a study is."""

from __future__ import annotations

from collections.abc import Iterable

from lab.spec.optimizer import OPTIMIZER
from lab.spec.space import ends
from lab.spec.study import StudySpec

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


def steps_of(spec: StudySpec, stages: Iterable[str], epoch_steps: float) -> float:
    """Optimizer steps of these stages' trainings, where an epoch has so many."""
    stages, counts = tuple(stages), trainings(spec, epoch_steps)
    epochs = sum(counts[stage][1] for stage in stages)
    return epochs * epoch_steps + (counts["bounds"][0] * spec.bounds.steps if "bounds" in stages else 0)
