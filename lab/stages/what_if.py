"""What the forest expects of a setting that nobody may have trained, and the trials that lie nearest to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.errors import SpecError, StudyError, nearest
from lab.lanes.job import objective_of
from lab.record.folder import Record
from lab.spec.distributions import distributions
from lab.spec.space import Params, Space
from lab.spec.study import StudySpec
from lab.stages import confirm
from lab.stages.explain import Withheld
from lab.stages.explanation import Fitted, fitted
from lab.stages.job import best_first

LEVEL = 0.8
"""The probability with which the score of a further trial lies within the interval."""
_NEAR = 3


@dataclass(frozen=True)
class Neighbour:
    """A trial near the setting."""

    number: int
    params: Params
    score: float | None


@dataclass(frozen=True)
class Expected:
    """What a trial of one seed is expected to score."""

    params: Params
    what: str
    """What the forest explains: the metric, or `log(valid_loss)`."""
    mean: float
    low: float
    """The ends of the interval of `LEVEL`."""
    high: float
    doubt: str | None
    """Why the forest is not to be believed; None where it is."""
    near: tuple[Neighbour, ...]


def expected(spec: StudySpec, record: Record, changes: Mapping[str, Any]) -> Expected:
    """What is expected of the confirmed setup with some of its settings changed; without it, of the best trial's.

    Raises:
        SpecError: a hyperparameter that was not searched, or a value outside of its range.
        StudyError: there are too few trials to be asked.
    """
    of_search = fitted(spec, record)
    if isinstance(of_search, Withheld):
        raise StudyError(f"the forest cannot be asked: {of_search.withheld}")
    _check(of_search.space, changes)
    params = {**_base(spec, record, of_search), **changes}
    units = of_search.encoding.units([params])
    features = of_search.encoding.features(units)
    low, high = of_search.fit.forest.intervals(features, LEVEL)
    apart = np.nansum(np.square(of_search.units - units), axis=1)
    return Expected(
        params=params,
        what=of_search.fit.what,
        mean=float(of_search.fit.forest.predict(features).mean[0]),
        low=float(low[0]),
        high=float(high[0]),
        doubt=of_search.fit.doubt,
        near=tuple(
            Neighbour(row.number, row.params, row.score)
            for row in (of_search.trials[i] for i in np.argsort(apart, kind="stable")[:_NEAR])
        ),
    )


def _check(space: Space, changes: Mapping[str, Any]) -> None:
    searched = distributions(space)
    for name, value in changes.items():
        if name not in searched:
            raise SpecError(
                f"--set {name}", f"was not searched{nearest(name, searched)}; there are: {', '.join(searched)}"
            )
        try:
            inside = searched[name]._contains(searched[name].to_internal_repr(value))
        except (ValueError, TypeError):
            inside = False
        if not inside:
            raise SpecError(f"--set {name}", f"{value!r} lies outside of what was searched: {_range(searched[name])}")


def _range(dist: BaseDistribution) -> str:
    """The values of a distribution, for people."""
    if isinstance(dist, CategoricalDistribution):
        return ", ".join(map(str, dist.choices))
    assert isinstance(dist, (FloatDistribution, IntDistribution))  # there are no others
    return f"{dist.low:.4g} to {dist.high:.4g}"


def _base(spec: StudySpec, record: Record, of_search: Fitted) -> Params:
    """The setting whose parts are taken where nothing else is asked for."""
    confirmed = confirm.STAGE.if_any(record)
    if confirmed is not None:
        return {name: v for name, v in confirmed.chosen.one_cycle.params.items() if name in of_search.space}
    return dict(best_first(of_search.trials, objective_of(spec)[1])[0].params)
