"""What the forest says, as values: whoever only reads them needs no forest, and no scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Importance:
    """A share, and the 10 % to 90 % interval over trials drawn anew."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """Partial dependence of the score on one hyperparameter, with the trees' 10 % to 90 % band."""

    name: str
    values: tuple[Any, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    support: tuple[int, ...] = ()
    """Trials near each grid point: where it is 0 the curve is the forest's guess."""
    ice: tuple[tuple[float, ...], ...] = ()
    """The same for single settings of all others (individual conditional expectation), [curves, grid]: where they
    are not parallel, the effect depends on the others."""
    log: bool = False
    """Whether the hyperparameter is searched on a log scale."""


@dataclass(frozen=True)
class Interaction:
    """How far a pair acts together rather than by the sum of what each does alone."""

    names: tuple[str, str]
    h: float
    """Friedman's H in [0, 1]: of the pair's joint effect, the part that no sum explains. Large also where the joint
    effect is next to nothing, so `share` tells what to look at."""
    share: float
    """The interaction's share of the forest's variance over the space."""
    low: float
    high: float
    """10 % to 90 % of the share over trials drawn anew."""


@dataclass(frozen=True)
class Surface:
    """Partial dependence on two hyperparameters: the mean over the space as both are held."""

    names: tuple[str, str]
    x: tuple[Any, ...]
    y: tuple[Any, ...]
    mean: tuple[tuple[float, ...], ...]
    """[y, x]"""
    support: tuple[tuple[int, ...], ...]
    """Trials near each point [y, x]: where it is 0 the surface is the forest's guess."""
    log: tuple[bool, bool] = (False, False)
    """Which of the two are searched on a log scale."""


@dataclass(frozen=True)
class Side:
    """What a region says of one hyperparameter."""

    name: str
    values: tuple[Any, ...]
    """The lowest and the highest, which may be one; of a choice, every option."""
    between: bool
    """Whether all values between these two are meant."""
    whole: bool
    """Whether these are all that were searched."""


@dataclass(frozen=True)
class Region:
    """A box of settings as good as the best; see `lab.response.region`."""

    sides: tuple[Side, ...]
    share: float
    """Its share of the space."""
    sure: float
    """How likely a setting in it is as good as the best, on the mean."""
    margin: float
    """How much worse than the best, in the score's units, still counts as good: what another seed alone changes."""
    best: dict[str, Any]
    """The setting that it lies around."""


@dataclass(frozen=True)
class Coverage:
    """Share of held-out trials whose score lay within the interval of a level, and the intervals' mean width.

    The width is in standard deviations of the scores: as wide as 2.56 (at 80 %) says nothing of a normal score. It is
    infinite where an interval is, and None once that has been written to a file.
    """

    level: float
    share: float
    width: float | None


@dataclass(frozen=True)
class Extrapolation:
    """How evenly the trials lie in the space."""

    auc: float
    """Out-of-bag score at telling trials from even points; 0.5: the search was even, 1: it kept to a corner."""
    thin_share: float
    """Share of the space in which less than `THIN` (see `extrapolation`) of an even search was done."""
    by: dict[str, float]
    """Share of each hyperparameter in telling them apart."""
