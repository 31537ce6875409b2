"""What a model does on the test split, counted: which classes it confuses, how well its confidence is deserved, and how
far its values lie from the actual ones. Values that an artefact holds; `diagnose` counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import Field

_Positive: TypeAlias = Annotated[int, Field(gt=0)]
"""What others are divided by: a file in which it is 0 is refused as it is read."""
_Count: TypeAlias = Annotated[int, Field(ge=0)]
_NORMAL_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


@dataclass(frozen=True)
class Example:
    """A test example, in words."""

    index: int
    said: str
    true: str
    shown: Mapping[str, Any]
    """What its task shows of it."""
    heat_map: str = ""
    """A data URI of its image with what a net saw in it; empty where there is none, and in an earlier version."""


@dataclass(frozen=True)
class ConfusedPair:
    """Examples of one class that were taken for another."""

    true: str
    said: str
    count: int
    support: _Positive
    """Examples of the true class."""
    example: Example | None = None
    """The one that the model was surest of."""

    @property
    def share(self) -> float:
        """That of the true class's examples."""
        return self.count / self.support


@dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which."""

    examples: _Positive
    """Or their parts, where each part of an example has a class."""
    classes: int
    wrong: int
    """Examples whose class is not the predicted one."""
    pairs: tuple[ConfusedPair, ...]
    """The most frequent mistakes, the first most so."""
    names: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    """Examples by true class (rows) and predicted class (columns), in the order of the names; none of very many
    classes."""


@dataclass(frozen=True)
class LabelCounts:
    """How often a label is there and is said."""

    name: str
    support: int
    """Examples that have it."""
    said: int
    right: int
    """Examples that have it and of which it is said."""

    @property
    def precision(self) -> float | None:
        """The share of those of which it is said that have it; None where it is never said."""
        return self.right / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        """The share of those that have it of which it is said; None where none has it."""
        return self.right / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where it is neither there nor said."""
        both = self.support + self.said
        return 2 * self.right / both if both else None


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same confidence."""

    low: float
    high: float
    count: _Positive
    confidence: float
    """The mean probability of the predicted class."""
    right: _Count

    @property
    def share(self) -> float:
        """That of the right ones."""
        return min(self.right / self.count, 1.0)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share (Wilson 1927; statsmodels' `proportion_confint(method="wilson")`).

        >>> low, high = Bin(0.9, 1.0, count=10, confidence=0.95, right=9).interval
        >>> round(low, 4), round(high, 4)
        (0.5958, 0.9821)
        """
        z2, n, p = _NORMAL_95**2, self.count, self.share
        center = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _NORMAL_95 / (1 + z2 / n) * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5
        return max(center - half, 0.0), min(center + half, 1.0)


@dataclass(frozen=True)
class Reliability:
    """How often predictions of each confidence are right."""

    bins: tuple[Bin, ...]
    """Those that hold any, the least sure first."""

    @property
    def examples(self) -> int:
        return sum(one.count for one in self.bins)

    @property
    def expected_error(self) -> float:
        """The expected calibration error over these bins (L1; Guo et al. 2017, eq. 5)."""
        return sum(abs(one.right - one.count * one.confidence) for one in self.bins) / self.examples

    @property
    def lean(self) -> float:
        """By how much the mean confidence exceeds the share of right ones; below 0 it is the lower."""
        return sum(one.count * one.confidence - one.right for one in self.bins) / self.examples


@dataclass(frozen=True)
class Residuals:
    """Predicted values beside the actual ones."""

    values: int
    """How many there are."""
    actual: tuple[float, ...]
    """A random sample of them where they are many, to six digits."""
    predicted: tuple[float, ...]
    mean: float
    """Mean of predicted less actual values, over all."""
    std: float
    low: float
    """Below it lie 5 % of them."""
    high: float
    """Above it lie 5 % of them."""


@dataclass(frozen=True)
class Diagnostics:
    """What was counted of one target."""

    target: str = ""
    """Its name; empty where it is the only one and has none."""
    confusion: Confusion | None = None
    reliability: Reliability | None = None
    labels: tuple[LabelCounts, ...] = ()
    """Those that the most examples have, where an example may have several."""
    labels_left_out: int = 0
    residuals: Residuals | None = None
