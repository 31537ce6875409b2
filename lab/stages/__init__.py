"""The stages of a study, a file each, declared as `STAGE` and listed here in the order in which they run.

Each reads the artefacts of those before it, has an engine train what it plans, and gives its own artefact.
It may not know how lanes are made, nor who runs the stages.
"""

from typing import Any

from lab.stages import bounds, confirm, ensemble, explain, explore, final, refit
from lab.stages.stage import Stage

STAGES: tuple[Stage[Any], ...] = (
    bounds.STAGE,
    explore.STAGE,
    explain.STAGE,
    confirm.STAGE,
    final.STAGE,
    ensemble.STAGE,
    refit.STAGE,
)

TRAINS = tuple(stage.name for stage in STAGES if stage.trainings)
"""The stages that train."""

__all__ = ["STAGES", "TRAINS"]
