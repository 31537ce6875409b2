"""The trials of a search as its next proposal sees them: any of Optuna's samplers looks through this storage."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lab.record.trial_schema import StoredTrial
from lab.record.turns import Turns


class SeenStorage:
    """A storage in which trials are numbered by their turns, and those that teach the next proposal nothing yet are
    running, whatever has come of them. All else, writes too, is the storage's own."""

    def __init__(self, storage: BaseStorage, turns: Turns) -> None:
        self._storage, self._turns = storage, turns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = self._storage.get_trial(trial_id)
        turn = self._turns.turn_of(trial.number)
        return _numbered(trial, self._turns.next if turn is None else turn)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):  # Optuna looks for one to run again, before it asks for another
            return self._storage.get_all_trials(study_id, deepcopy, states)
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        asked = [trial for trial in self._seen(trials) if states is None or trial.state in states]
        return copy.deepcopy(asked) if deepcopy else asked

    def _seen(self, trials: list[FrozenTrial]) -> Iterator[FrozenTrial]:
        taught = self._turns.taught
        for number, turn in enumerate(self._turns):
            first = trials[turn.first]
            if number >= taught:
                yield _as_running(first, number)
            elif turn.now == turn.first:
                yield _numbered(first, number)
            else:  # what the sampler noted of its proposal stands with the first
                trial = _numbered(copy.copy(trials[turn.now]), number)
                trial._system_attrs = first.system_attrs
                yield trial
        for trial in trials[-1:]:
            if trial.state == TrialState.RUNNING and not StoredTrial(trial).is_planned:
                yield _numbered(trial, self._turns.next)  # the one that is being asked for


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    if trial.number == number:
        return trial
    trial = copy.copy(trial)
    trial.number = number
    return trial


def _as_running(trial: FrozenTrial, number: int) -> FrozenTrial:
    """A trial as it was when it began."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=trial.datetime_start,
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs=trial.system_attrs,
        intermediate_values={},
        trial_id=trial._trial_id,
    )
