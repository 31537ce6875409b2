"""What a user's program is told while a study runs: each trial and each stage as it ends, in the driver's own thread.

Trials are read from where the ledger writes them, so that lanes in this process and on a cluster are followed alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lab.errors import SpecError, StudyError
from lab.lanes.engine import Watch
from lab.record.folder import Record
from lab.record.followed_trials import FollowedTrials
from lab.record.trials import TrialRow
from lab.spec.exchange import Progress
from lab.spec.plan import Store
from lab.spec.space import Params
from lab.spec.trial import Outcome
from lab.stages import TRAINS
from lab.tasks.user_code import said_by


@dataclass(frozen=True)
class TrialEnd:
    """A trial that has ended, as `on_trial_end` is told of it.

    >>> space = lab.Space(max_lr=lab.Float(0.003, 0.03, log=True))
    >>> scores = []
    >>> study = lab.Study("digits", space, name="told", trials=2, epochs=1)
    >>> result = study.run(engine="local", width=1, until="explore", on_trial_end=lambda end: scores.append(end.score))
    >>> scores == list(result.trials["score"])
    True
    """

    stage: str
    number: int
    params: Params
    seed: int
    epochs: int
    role: str
    outcome: Outcome
    score: float | None
    """None where it did not complete."""
    curve: Mapping[int, float]
    """Score by epoch."""
    metrics: Mapping[str, float | None]
    """After its last epoch."""
    detail: str
    """Why it did not complete; empty where it did."""
    seconds: float | None


@dataclass(frozen=True)
class StageEnd:
    """A stage that is complete, as `on_stage_end` is told of it.

    >>> space = lab.Space(max_lr=lab.Float(0.003, 0.03, log=True))
    >>> study = lab.Study("digits", space, name="stages", trials=2, epochs=1)
    >>> stages = []
    >>> result = study.run(engine="local", width=1, until="explore", on_stage_end=lambda end: stages.append(end.stage))
    >>> stages
    ['bounds', 'explore']
    """

    stage: str
    said: str
    """What it found, in a few words."""
    artefact: Any
    """What it wrote, as a frozen dataclass: see `lab.stages`."""
    seconds: float


OnTrialEnd: TypeAlias = Callable[[TrialEnd], object]
OnStageEnd: TypeAlias = Callable[[StageEnd], object]


class Callbacks:
    """Calls a user's functions. The first error ends the study; trials that ended before this run are told to nobody.

    Raises:
        SpecError: what is given cannot be called.
    """

    def __init__(self, record: Record, on_trial_end: OnTrialEnd | None, on_stage_end: OnStageEnd | None) -> None:
        for name, function in (("on_trial_end", on_trial_end), ("on_stage_end", on_stage_end)):
            if function is not None and not callable(function):
                raise SpecError(name, f"{function!r} cannot be called")
        self._record, self._on_trial_end, self._on_stage_end = record, on_trial_end, on_stage_end
        self._trials: FollowedTrials | None = None
        self._looked: tuple[str, int] | None = None
        self._error: StudyError | None = None

    def begin(self, store: Store | None) -> None:
        """What has ended by now is known already."""
        if self._on_trial_end is not None:
            self._trials = FollowedTrials(self._record, store)
            self._trials.look(TRAINS)

    def watching(self, watch: Watch) -> Watch:
        """An engine's watch that tells of trials too, and ends the study once a function has raised."""
        if self._on_trial_end is None:
            return watch

        def both(progress: Progress) -> bool:
            seen = (progress.stage, progress.closed)
            if seen != self._looked:
                self._looked = seen
                self._look(progress.stage)
            return watch(progress) and self._error is None

        return both

    def stage(self, ended: StageEnd) -> None:
        """Tell of a stage, behind the trials of it that nobody has been told of yet.

        Raises:
            StudyError: a function has raised; see `refuse`.
        """
        if ended.stage in TRAINS:
            self._look(ended.stage)
        self.refuse()
        if self._on_stage_end is not None:
            self._call("on_stage_end", self._on_stage_end, ended, f"stage {ended.stage}")
        self.refuse()

    def refuse(self) -> None:
        """End the study where a function has raised.

        Raises:
            StudyError: what it raised, in one line; it is the cause.
        """
        if self._error is not None:
            raise self._error from self._error.__cause__

    def close(self) -> None:
        if self._trials is not None:
            self._trials.close()

    def _look(self, stage: str) -> None:
        if self._trials is None or self._on_trial_end is None:
            return
        for row in self._trials.look((stage,))[stage]:
            if row.outcome is not None and row.outcome is not Outcome.PREEMPTED and self._error is None:
                self._call("on_trial_end", self._on_trial_end, _ended(stage, row), f"trial {row.number} of {stage}")

    def _call(self, name: str, function: Callable[[Any], object], value: object, at: str) -> None:
        try:
            function(value)
        except Exception as error:  # a user's code may raise anything
            said = f"{name} raised at {at}: {said_by(error)}; what has ended is saved, and the study can be resumed"
            self._error = StudyError(said)
            self._error.__cause__ = error


def _ended(stage: str, row: TrialRow) -> TrialEnd:
    assert row.outcome is not None  # it has ended
    return TrialEnd(
        stage=stage,
        number=row.number,
        params=row.params,
        seed=row.trial.seed,
        epochs=row.trial.epochs,
        role=row.trial.role,
        outcome=row.outcome,
        score=row.score,
        curve=row.curve,
        metrics=row.metrics,
        detail=row.detail,
        seconds=row.seconds,
    )
