"""The writing of trials: that one waits, where it runs, what it scored, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lab.record import trial_schema as schema
from lab.record.counts import Counts
from lab.record.trial_schema import Seat, StoredTrial
from lab.record.turns import Turns
from lab.spec.outcomes import state_of
from lab.spec.space import Params
from lab.spec.trial import Outcome, Trial


class TrialWriter:
    """A stage's trials in the storage; counts, and turns where there are any, see whatever changes them.

    Callers see to it that what belongs together is one transaction.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, counts: Counts, turns: Turns | None = None) -> None:
        self._study, self._storage, self._counts, self._turns = study, storage, counts, turns

    def get(self, number: int) -> StoredTrial:
        """A trial as it stands now."""
        return StoredTrial(self._storage.get_trial(self._counts.storage_id(number)))

    def enqueue(self, trial: Trial, plan_index: int) -> None:
        """Enter a planned trial, which then waits for a slot."""
        self._enter(schema.waiting(trial, plan_index))

    def enqueue_setting(self, setting: Params, index: int) -> None:
        """Enter a trial of a search with what a user has set of it."""
        self._enter(schema.waiting_with(setting, index))

    def hand_out(self, asked: optuna.Trial, trial: Trial | None, seat: Seat) -> StoredTrial:
        """Note where an asked trial starts, and what is planned of it where that is new."""
        planned = schema.planned_attrs(trial) if trial is not None else {}
        for name, value in (planned | schema.seat_attrs(seat)).items():
            asked.set_user_attr(name, value)
        return self._observe(asked._trial_id)

    def move(self, number: int, seat: Seat) -> StoredTrial:
        """Note where a running trial goes on."""
        storage_id = self._counts.storage_id(number)
        self._set(storage_id, schema.seat_attrs(seat))
        return self._observe(storage_id)

    def score(self, number: int, epoch: int, score: float) -> StoredTrial:
        """Note an epoch's score."""
        storage_id = self._counts.storage_id(number)
        self._storage.set_trial_intermediate_value(storage_id, epoch, score)
        return self._observe(storage_id)

    def keep_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep what a trial has measured after an epoch."""
        self._set(self._counts.storage_id(number), schema.epoch_attrs(epoch, metrics))

    def measure(self, number: int, metrics: Mapping[str, float], step_losses: Sequence[float]) -> None:
        """Keep what a trial has measured; `end` has to follow."""
        self._set(self._counts.storage_id(number), schema.measured_attrs(metrics, step_losses))

    def end(self, number: int, outcome: Outcome, detail: str, end_tick: int | None, score: float | None) -> None:
        """Close a trial."""
        self._set(self._counts.storage_id(number), schema.end_attrs(outcome, detail, end_tick))
        state = state_of(outcome)
        values = [score] if state == TrialState.COMPLETE and score is not None else None
        self._study.tell(number, values, state=state)
        self._observe(self._counts.storage_id(number))

    def give_up(self, asked: optuna.Trial) -> None:
        """Close a trial that was asked and cannot be handed out; not by `tell`, which would ask the sampler again."""
        self._storage.set_trial_state_values(asked._trial_id, TrialState.FAIL)
        self._observe(asked._trial_id)

    def preempt(self, stored: StoredTrial, detail: str) -> None:
        """Close a trial that is to run again, and enter it anew."""
        self.end(stored.number, Outcome.PREEMPTED, detail, None, None)
        if stored.is_planned:
            self._enter(schema.waiting_again(stored))

    def _enter(self, template: FrozenTrial) -> None:
        self._observe(self._storage.create_new_trial(self._study._study_id, template_trial=template))

    def _set(self, storage_id: int, attrs: Mapping[str, Any]) -> None:
        for name, value in attrs.items():
            self._storage.set_trial_user_attr(storage_id, name, value)

    def _observe(self, storage_id: int) -> StoredTrial:
        stored = StoredTrial(self._storage.get_trial(storage_id))
        self._counts.observe(stored)
        if self._turns is not None:
            self._turns.observe(stored)
        return stored
