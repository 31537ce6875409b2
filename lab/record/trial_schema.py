"""The form of a trial in the storage: the names of its attributes, and both ways between them and values.

Studies of earlier versions lie on disk in this form. A name that is here stays; one that is new may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.errors import SpecError
from lab.schedules import Schedule, parse_schedule
from lab.spec.outcomes import METRICS, OUTCOME
from lab.spec.space import Params
from lab.spec.trial import Outcome, Trial

PLANNED = "planned"
"""Seed, epochs, role, keep, the schedule of a trial that has one of its own, and the fold of one that leaves it out."""
ASSIGNMENT = "assignment"
"""Lane, slot and tick."""
PLAN_INDEX = "plan_index"
ENQUEUED = "enqueued"
"""Index among the settings that a user wants tried first; of a search's trials only."""
REPLACES = "replaces"
"""The preempted trial that this one runs again."""
DETAIL = "detail"
END_TICK = "end_tick"
EPOCH = "epoch "
"""The metrics of an epoch stand under this and its number, where the study keeps them."""
STEP_LOSSES = "step_losses"
_FIXED_PARAMS = "fixed_params"
"""Optuna's own name, among the system attributes, for the parameters of a trial that waits."""


@dataclass(frozen=True)
class Seat:
    """The slot of a lane in which a trial runs, from a tick of the lane's clock on."""

    lane: int
    slot: int
    tick: int


@dataclass(frozen=True)
class StoredTrial:
    """One trial as the storage holds it. The attributes of a damaged one raise KeyError, TypeError or ValueError."""

    frozen: FrozenTrial

    @property
    def number(self) -> int:
        return self.frozen.number

    @property
    def state(self) -> TrialState:
        return self.frozen.state

    @property
    def is_planned(self) -> bool:
        """Whether `trial` can be read. A killed driver may leave a trial with only some of its parameters."""
        return PLANNED in self.frozen.user_attrs

    @property
    def trial(self) -> Trial:
        """The trial as it was planned, with the parameters that it waits with or has received since."""
        planned = self.frozen.user_attrs[PLANNED]
        return Trial(
            params=self.params,
            seed=planned["seed"],
            epochs=planned["epochs"],
            role=planned["role"],
            own_schedule=_schedule(planned["schedule"]),
            keep=planned["keep"],
            fold=planned.get("fold"),
        )

    @property
    def params(self) -> Params:
        return cast(Params, dict(self.frozen.params) or dict(self.waits_with or {}))

    @property
    def waits_with(self) -> Mapping[str, Any] | None:
        """The parameters that a trial was entered with; None where the sampler proposes them."""
        return self.frozen.system_attrs.get(_FIXED_PARAMS)

    @property
    def replaces(self) -> int | None:
        """The number of the preempted trial that this one runs again."""
        return self.frozen.user_attrs.get(REPLACES)

    @property
    def epochs(self) -> int:
        return int(self.frozen.user_attrs[PLANNED]["epochs"])

    @property
    def plan_index(self) -> int | None:
        """Index in the stage's plan; None for a trial of a search."""
        return self.frozen.user_attrs.get(PLAN_INDEX)

    @property
    def enqueued_as(self) -> int | None:
        """Index among the settings that the user wants tried first; None for others."""
        return self.frozen.user_attrs.get(ENQUEUED)

    @property
    def seat(self) -> Seat | None:
        seat = self.frozen.user_attrs.get(ASSIGNMENT)
        return None if seat is None else Seat(seat["lane"], seat["slot"], seat["tick"])

    @property
    def curve(self) -> dict[int, float]:
        """Score by epoch."""
        return {int(epoch): score for epoch, score in self.frozen.intermediate_values.items()}

    @property
    def outcome(self) -> Outcome | None:
        """The outcome; None while the trial runs, and for one that another program than `lab` has ended."""
        outcome = self.frozen.user_attrs.get(OUTCOME)
        return Outcome(outcome) if outcome else None

    @property
    def was_preempted(self) -> bool:
        """Whether it has ended and runs again as another."""
        return self.state.is_finished() and self.outcome is Outcome.PREEMPTED

    @property
    def detail(self) -> str:
        return str(self.frozen.user_attrs.get(DETAIL, ""))

    @property
    def end_tick(self) -> int | None:
        """The tick from which its slot is free."""
        return self.frozen.user_attrs.get(END_TICK)

    @property
    def score(self) -> float | None:
        return self.frozen.value if self.frozen.state == TrialState.COMPLETE else None

    @property
    def seconds(self) -> float | None:
        duration = self.frozen.duration
        return None if duration is None else duration.total_seconds()

    @property
    def ended_at(self) -> float | None:
        """When it ended, in seconds since 1970; None while it runs."""
        ended = self.frozen.datetime_complete
        return None if ended is None else ended.timestamp()

    @property
    def metrics(self) -> dict[str, float | None]:
        return dict(self.frozen.user_attrs.get(METRICS, {}))

    @property
    def epoch_metrics(self) -> dict[int, dict[str, float | None]]:
        """Metrics by epoch, of those whose metrics are kept."""
        kept = {k: v for k, v in self.frozen.user_attrs.items() if k.startswith(EPOCH)}
        return {int(name.removeprefix(EPOCH)): dict(metrics) for name, metrics in kept.items()}

    def keeps_epoch(self, epoch: int) -> bool:
        """Whether the metrics of an epoch are kept already."""
        return f"{EPOCH}{epoch}" in self.frozen.user_attrs

    @property
    def step_losses(self) -> list[float | None]:
        return list(self.frozen.user_attrs.get(STEP_LOSSES, []))


def planned_attrs(trial: Trial) -> dict[str, Any]:
    """The attributes of a planned trial."""
    schedule = trial.own_schedule.to_dict() if trial.own_schedule else None
    planned = {"seed": trial.seed, "epochs": trial.epochs, "role": trial.role, "keep": trial.keep, "schedule": schedule}
    return {PLANNED: planned if trial.fold is None else {**planned, "fold": trial.fold}}


def seat_attrs(seat: Seat) -> dict[str, Any]:
    """The attributes of a trial that runs."""
    return {ASSIGNMENT: asdict(seat)}


def measured_attrs(metrics: Mapping[str, float], step_losses: Sequence[float]) -> dict[str, Any]:
    """The attributes of what a trial has measured by its end, as JSON can hold them: null for NaN and infinities.

    Metrics are as precise as the score, which is one of them; losses, one a step, have seven digits.
    """
    losses = [float(f"{loss:.7g}") if math.isfinite(loss) else None for loss in step_losses]
    return ({STEP_LOSSES: losses} if losses else {}) | {METRICS: _finite(metrics)}


def epoch_attrs(epoch: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The attribute of what a trial has measured after an epoch."""
    return {f"{EPOCH}{epoch}": _finite(metrics)}


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def end_attrs(outcome: Outcome, detail: str, end_tick: int | None) -> dict[str, Any]:
    """The attributes of a trial that has ended."""
    attrs = {OUTCOME: str(outcome), END_TICK: end_tick, DETAIL: detail or None}
    return {name: value for name, value in attrs.items() if value is not None}


def waiting(trial: Trial, plan_index: int) -> FrozenTrial:
    """A planned trial, as it is entered to wait for a slot."""
    return _waiting(trial.params, {**planned_attrs(trial), PLAN_INDEX: plan_index})


def waiting_with(setting: Mapping[str, Any], index: int) -> FrozenTrial:
    """A trial of a search that waits with some of its hyperparameters; the sampler proposes the others."""
    return _waiting(setting, {ENQUEUED: index})


def waiting_again(stored: StoredTrial) -> FrozenTrial:
    """A preempted trial, as it is entered to be run again."""
    kept = {name: stored.frozen.user_attrs[name] for name in (PLANNED, PLAN_INDEX) if name in stored.frozen.user_attrs}
    # A trial that was killed while it was handed out has only some of its parameters yet.
    params = stored.frozen.params if stored.waits_with is None else stored.waits_with
    return _waiting(params, {PLANNED: kept.pop(PLANNED), REPLACES: stored.number, **kept})


def _schedule(value: Any) -> Schedule | None:
    try:
        return parse_schedule(value) if value else None
    except SpecError as error:  # the fault is the storage's, not the spec's
        raise ValueError(f"a trial's {error}") from error


def _waiting(params: Mapping[str, Any], attrs: Mapping[str, Any]) -> FrozenTrial:
    return create_trial(state=TrialState.WAITING, system_attrs={_FIXED_PARAMS: dict(params)}, user_attrs=dict(attrs))
