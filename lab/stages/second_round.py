"""What a second round on pseudo-labels came to. It is trained aside from a finished study (`lab.study.pseudo_labels`);
its models are handed out in place of the stages' where the validation rows say that they are better.

It is no stage: it needs examples that the spec does not name, which somebody has when all stages have run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lab.record.artefact import Measured, read_artefact, to_json
from lab.record.folder import Record, write_json
from lab.stages.diagnostics import Diagnostics, Example
from lab.stages.ensemble import Member

_NAME = "second_round"


@dataclass(frozen=True)
class Way:
    """A way to spend the second round, or the first round."""

    name: str
    epochs: int
    """Passes over all that each of its models was trained on; 0: they are the first round's."""
    examples: int
    """How many those were, with those that were repeated; 0: as above."""
    valid_loss: Measured
    """Loss of the mean of its models: negative log-likelihood once calibrated, or the task's own loss of values."""
    test: dict[str, Measured] | None = None
    """By metric; None where it was not trained on validation rows, as what is handed out is."""


@dataclass(frozen=True, kw_only=True)
class SecondRound:
    """The second round beside the first, and beside as many steps on the labels alone."""

    source: str
    """The name of the file of unlabelled examples."""
    unlabelled: int
    """How many examples it holds."""
    pseudo_labelled: int
    """How many of them were surely enough predicted to be trained on."""
    confidence: float | None
    """From which probability on they are; None: values are predicted, which have none."""
    share: float
    """That of pseudo-labelled examples in a batch, on average."""
    metric: str
    first: Way
    ways: tuple[Way, ...]
    """The labels alone are the last of them."""
    chosen: str
    """Which of those with pseudo-labels had the least validation loss."""
    kept: bool
    """Whether its models are handed out."""
    why: str
    trainings: int
    members: tuple[Member, ...] = ()
    """Those of the chosen way; none where it is not kept."""
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    test: dict[str, Measured] = field(default_factory=dict)
    """The chosen way's, by metric."""
    examples: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    """Those of the test split that it is most wrong, and least sure, about."""
    diagnostics: tuple[Diagnostics, ...] = ()
    """What it does on the test split, by target; an earlier version counted nothing."""

    @property
    def lines(self) -> list[str]:
        """What it came to, in words."""
        sure = "" if self.confidence is None else f", said with a probability of at least {self.confidence:g}"
        return [
            f"{self.pseudo_labelled} of {self.unlabelled} examples of {self.source}{sure}",
            *(self._line(way) for way in (self.first, *self.ways)),
            f"{'handed out' if self.kept else 'not handed out'}: {self.chosen}; {self.why}",
        ]

    @property
    def longer(self) -> str:
        """What to try where the labels alone, learned for as many steps, have the least validation loss of all; else
        empty."""
        alone = self.ways[-1]
        if alone.valid_loss >= min(way.valid_loss for way in (self.first, *self.ways[:-1])):
            return ""
        return f"the labels alone, learned longer, are the best on validation: try final.epochs of {alone.epochs}"

    def _line(self, way: Way) -> str:
        test = "" if way.test is None else f", test {self.metric} {way.test[self.metric]:.4g}"
        return f"{way.name}: validation loss {way.valid_loss:.4g}{test}"


def second_round_path(record: Record) -> Path:
    """Where it lies, once there was one."""
    return record.artefact_path(_NAME)


def second_round_of(record: Record) -> SecondRound | None:
    """What a study's folder holds; None where there was none.

    Raises:
        RecordError: the file is damaged.
    """
    path = second_round_path(record)
    return read_artefact(path, (SecondRound,)) if path.exists() else None


def write_second_round(record: Record, second: SecondRound) -> None:
    """Store it."""
    write_json(second_round_path(record), to_json(second))
