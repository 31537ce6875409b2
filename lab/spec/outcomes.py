"""The form of an outcome in an Optuna study: the trial's state, and a user attribute that holds it in full."""

from __future__ import annotations

from optuna.trial import TrialState

from lab.spec.trial import Outcome

OUTCOME = "outcome"
"""The user attribute's name; samplers read it as well, since Optuna has one state for all that failed."""

METRICS = "metrics"
"""The user attribute that holds what a trial has measured by its end, the costs of its model among it."""


def state_of(outcome: Outcome) -> TrialState:
    """Optuna's state of a trial that ended so."""
    match outcome:
        case Outcome.COMPLETED:
            return TrialState.COMPLETE
        case Outcome.PRUNED:
            return TrialState.PRUNED
        case _:
            return TrialState.FAIL
