"""How many trainings a study is."""

from __future__ import annotations

from collections.abc import Iterable

from lab.spec.study import StudySpec
from lab.stages import STAGES
from lab.stages.stage import Trainings


def trainings(spec: StudySpec, epoch_steps: float | None) -> dict[str, Trainings]:
    """What each stage that trains does.

    Args:
        epoch_steps: optimizer steps of an epoch, where they are known.
    """
    return {stage.name: stage.trainings(spec, epoch_steps) for stage in STAGES if stage.trainings}


def steps_of(spec: StudySpec, stages: Iterable[str], epoch_steps: float) -> float:
    """Optimizer steps of these stages' trainings, where an epoch has so many."""
    counts = trainings(spec, epoch_steps)
    return sum(counts[stage].epochs * epoch_steps + counts[stage].steps for stage in stages)
