"""Trials that were not asked for here, as a sampler reads them: another study's, or those of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.spec.plan import Known, Outcome

_STATE = {
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.FAIL,
}


def as_trials(known: Iterable[Known], space: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """In Optuna's terms; those that are no points of the space, or teach nothing, are left out."""
    return [
        create_trial(
            state=_STATE[one.outcome],
            value=one.score if one.outcome is Outcome.COMPLETED else None,
            params=dict(one.params),
            distributions={name: space[name] for name in one.params},
            intermediate_values=dict(one.curve),
            user_attrs={"outcome": str(one.outcome)},
        )
        for one in known
        if one.outcome in _STATE
        and (one.outcome is not Outcome.COMPLETED or one.score is not None)
        and one.params.keys() <= space.keys()
        and all(_holds(space[name], value) for name, value in one.params.items())
    ]


def _holds(dist: BaseDistribution, value: object) -> bool:
    if isinstance(dist, CategoricalDistribution):
        return value in dist.choices
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and bool(dist.low <= value <= dist.high)  # type: ignore[attr-defined]
    )
