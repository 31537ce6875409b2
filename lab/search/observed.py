"""Trials that were not asked for here, as a sampler reads them: another study's, or those of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from lab.spec.outcomes import OUTCOME, state_of
from lab.spec.trial import Observed, Outcome


def as_trials(observed: Iterable[Observed], space: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """In Optuna's terms; those that are no points of the space, or teach nothing, are left out."""
    return [
        create_trial(
            state=state_of(one.outcome),
            value=one.score if one.outcome is Outcome.COMPLETED else None,
            params=dict(one.params),
            distributions={name: space[name] for name in one.params},
            intermediate_values=dict(one.curve),
            user_attrs={OUTCOME: str(one.outcome)},
        )
        for one in observed
        if one.outcome is not None and _teaches(one) and _inside(one, space)
    ]


def _teaches(one: Observed) -> bool:
    if one.outcome is Outcome.COMPLETED:
        return one.score is not None
    return one.outcome in (Outcome.PRUNED, Outcome.DIVERGED)


def _inside(one: Observed, space: Mapping[str, BaseDistribution]) -> bool:
    return one.params.keys() <= space.keys() and all(_holds(space[name], value) for name, value in one.params.items())


def _holds(dist: BaseDistribution, value: object) -> bool:
    if isinstance(dist, CategoricalDistribution):
        return value in dist.choices
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and bool(dist.low <= value <= dist.high)  # type: ignore[attr-defined]
    )
