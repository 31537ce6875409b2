"""The sections `confirm` and `final` of a spec: fresh seeds for the best, and the models that are handed out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lab.errors import SpecError
from lab.spec.amounts import Few, Many
from lab.spec.section import Section


class ConfirmSpec(Section):
    """Fresh seeds for the best candidates."""

    one_cycle: Few = 3
    several: Annotated[int, Field(ge=0, le=1000)] = 2
    seeds: Annotated[int, Field(ge=2, le=1000)] = 4


class FinalSpec(Section):
    """The final models: `epochs` each, on `seeds` seeds, and beside them shorter ones and a cyclical one.

    Where the task has folds, each run leaves out one, in turn: 5 seeds are then 5 folds of one seed each.
    """

    epochs: Many = 60
    seeds: Few = 3
    snapshots: Few | Literal["auto"] = "auto"
    """Cycles of a cyclical run. `auto`: those that were confirmed, and no such run where it was clearly beaten."""
    refit: bool = True
    """Whether what was chosen is trained once more on training and validation rows together, and handed out so."""
    refit_seeds: Few = 3
    """Seeds on which each chosen run is then trained: more models of one setup are the cheapest gain that there is.
    Three for one took 16 +- 9 % off the loss on wine, 6 +- 3 % on digits (`reports/outcome`)."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of the moving average of each 1cycle run's weights, which may then join the ensemble. None: there
    is none."""
    controls: Literal["none", "final", "full"] = "final"
    """What is trained beside, to be compared with: plain 1cycle runs, and runs at settings that need no search, each
    for the cost of the final models with one refit of each; `full`: the latter for the cost of the whole study."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.snapshots, int) and self.snapshots > self.epochs:
            raise SpecError("final.snapshots", f"{self.snapshots} is above final.epochs {self.epochs}")
        return self

    @property
    def cyclical_seeds(self) -> int:
        """Cyclical runs, if there are any: one snapshot run may join two runs of one cycle."""
        return 0 if self.snapshots == 1 else max(self.seeds // 2, 1)
