"""What the ledger writes of a trial: that it waits, where it runs, what it scored, how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.record.counts import Tally
from lab.spec.plan import Outcome, Planned

_STATE = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}


class TrialWriter:
    """A stage's trials in the storage; the tally sees whatever changes its counts.

    Callers see to it that what belongs together is one transaction.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, tally: Tally) -> None:
        self._study, self._storage, self._tally = study, storage, tally

    def get(self, number: int) -> FrozenTrial:
        """A trial as it stands now."""
        return self._storage.get_trial(self._tally.storage_id(number))

    def enqueue(self, params: Mapping[str, Any], planned: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Enter a trial that waits for a slot."""
        template = create_trial(
            state=TrialState.WAITING,
            system_attrs={"fixed_params": dict(params)},
            user_attrs={"planned": planned, **attrs},
        )
        self._observe(self._storage.create_new_trial(self._study._study_id, template_trial=template))

    def hand_out(self, trial: optuna.Trial, planned: Mapping[str, Any] | None, place: Mapping[str, int]) -> FrozenTrial:
        """Note where an asked trial starts, and what is planned of it where that is new."""
        if planned is not None:
            trial.set_user_attr("planned", planned)
        trial.set_user_attr("assignment", place)
        return self._observe(trial._trial_id)

    def move(self, number: int, place: Mapping[str, int]) -> FrozenTrial:
        """Note where a running trial goes on."""
        storage_id = self._tally.storage_id(number)
        self._storage.set_trial_user_attr(storage_id, "assignment", place)
        return self._observe(storage_id)

    def score(self, number: int, epoch: int, score: float) -> FrozenTrial:
        """Note an epoch's score."""
        storage_id = self._tally.storage_id(number)
        self._storage.set_trial_intermediate_value(storage_id, epoch, score)
        return self._observe(storage_id)

    def measure(self, number: int, metrics: Mapping[str, float], step_losses: Sequence[float]) -> None:
        """Keep what a trial has measured; `end` has to follow."""
        storage_id = self._tally.storage_id(number)
        if step_losses:
            self._storage.set_trial_user_attr(storage_id, "step_losses", _short(step_losses))
        # As precise as the score, which is one of them.
        finite = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
        self._storage.set_trial_user_attr(storage_id, "metrics", finite)

    def end(self, number: int, outcome: Outcome, detail: str, end_tick: int | None, score: float | None) -> None:
        """Close a trial."""
        attrs = {"outcome": str(outcome), "end_tick": end_tick, "detail": detail or None}
        for name, value in attrs.items():
            if value is not None:
                self._storage.set_trial_user_attr(self._tally.storage_id(number), name, value)
        state = _STATE.get(outcome, TrialState.FAIL)
        values = [score] if state == TrialState.COMPLETE and score is not None else None
        self._study.tell(number, values, state=state)
        self._observe(self._tally.storage_id(number))

    def give_up(self, trial: optuna.Trial) -> None:
        """Close a trial that was asked and cannot be handed out; not by `tell`, which would ask the sampler again."""
        self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        self._observe(trial._trial_id)

    def preempt(self, trial: FrozenTrial, detail: str) -> None:
        """Close a trial that is to run again, and enter it anew."""
        planned = trial.user_attrs.get("planned")
        self.end(trial.number, Outcome.PREEMPTED, detail, None, None)
        if planned is not None:
            attrs = {"replaces": trial.number}
            if "plan_index" in trial.user_attrs:
                attrs["plan_index"] = trial.user_attrs["plan_index"]
            # One that was killed while it was handed out has only some of its parameters yet.
            self.enqueue(trial.system_attrs.get("fixed_params", trial.params), planned, attrs)

    def _observe(self, storage_id: int) -> FrozenTrial:
        trial = self._storage.get_trial(storage_id)
        self._tally.observe(trial)
        return trial


def planned_as_json(planned: Planned) -> dict[str, Any]:
    """What is planned of a trial, as its user attribute `planned` holds it."""
    schedule = planned.schedule.to_dict() if planned.schedule else None
    return {
        "seed": planned.seed,
        "epochs": planned.epochs,
        "role": planned.role,
        "keep": planned.keep,
        "schedule": schedule,
    }


def _short(values: Sequence[float]) -> list[float | None]:
    """Floats, one of every step, as JSON can hold them: seven digits, and null for NaN and infinities."""
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in values]
