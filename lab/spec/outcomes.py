"""How a trial's outcome stands in an Optuna study: as the trial's state, and in full as a user attribute."""

from __future__ import annotations

from optuna.trial import TrialState

from lab.spec.trial import Outcome

OUTCOME = "outcome"
"""The user attribute's name; samplers read it as well, since Optuna has one state for all that failed."""


def state_of(outcome: Outcome) -> TrialState:
    """Optuna's state of a trial that ended so."""
    match outcome:
        case Outcome.COMPLETED:
            return TrialState.COMPLETE
        case Outcome.PRUNED:
            return TrialState.PRUNED
        case _:
            return TrialState.FAIL
