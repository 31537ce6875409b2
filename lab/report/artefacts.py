"""What a study's stages have left, together: what every window on it shows."""

from __future__ import annotations

from dataclasses import dataclass

from lab.record.folder import Record
from lab.stages import STAGES, bounds, confirm, ensemble, explain, explore, final, refit
from lab.stages.bounds import Bounds
from lab.stages.confirm import Confirmed
from lab.stages.ensemble import ChosenEnsemble, Ensembled
from lab.stages.explain import Explained, Withheld
from lab.stages.explore import Explored
from lab.stages.final import Final
from lab.stages.refit import Refitted
from lab.stages.second_round import SecondRound, second_round_of
from lab.stages.stage import Skipped


@dataclass(frozen=True)
class Artefacts:
    """What the stages left, each None where it has not run yet or was skipped."""

    bounds: Bounds | None
    explore: Explored | None
    explain: Explained | Withheld | None
    confirm: Confirmed | None
    final: Final | None
    ensemble: Ensembled | None
    refit: Refitted | None
    second: SecondRound | None
    """What was trained aside on pseudo-labels."""
    skipped: dict[str, str]
    """Why, by stage."""
    missing: tuple[str, ...]
    """Stages that have not run."""

    @classmethod
    def of(cls, record: Record) -> Artefacts:
        left = {stage.name: stage.read(record) for stage in STAGES}
        return cls(
            bounds.STAGE.if_any(record),
            explore.STAGE.if_any(record),
            explain.STAGE.if_any(record),
            confirm.STAGE.if_any(record),
            final.STAGE.if_any(record),
            ensemble.STAGE.if_any(record),
            refit.STAGE.if_any(record),
            second_round_of(record),
            {name: artefact.skipped for name, artefact in left.items() if isinstance(artefact, Skipped)},
            tuple(name for name, artefact in left.items() if artefact is None),
        )

    @property
    def handed(self) -> SecondRound | Refitted | ChosenEnsemble | None:
        """What is handed out, on the test split."""
        return self.second if self.second is not None and self.second.kept else self.first_round

    @property
    def first_round(self) -> Refitted | ChosenEnsemble | None:
        """What the stages hand out, on the test split."""
        return self.refit or (self.ensemble.chosen if self.ensemble else None)

    @property
    def tested(self) -> SecondRound | Refitted | Ensembled | None:
        """What tells of test examples one by one: of the models that are handed out."""
        return self.second if self.second is not None and self.second.kept else self.refit or self.ensemble

    @property
    def lacks(self) -> tuple[str, ...]:
        """What could not be made beside the models."""
        return tuple(line for stage in (self.ensemble, self.refit) if stage for line in stage.lacks)

    @property
    def explained(self) -> Explained | None:
        """The forest's view, where there was enough to fit one."""
        return self.explain if isinstance(self.explain, Explained) else None
