"""Stage 2: the search. Trials proposed by a sampler, trained by lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import Lanes, make_job
from lab.record.folder import Record
from lab.record.trials import TrialRow, why_ended
from lab.spec.distributions import conditions, distributions
from lab.spec.plan import Direction, Job, SearchPlan
from lab.spec.space import Params, Space
from lab.spec.study import StudySpec
from lab.spec.trial import Observed, Outcome
from lab.stages.from_bounds import sampler_of, space_of
from lab.stages.job import best_first, completed, refuse_infeasible, run_job
from lab.stages.stage import Stage, Trainings

if TYPE_CHECKING:
    from lab.search.expected import Expected


@dataclass(frozen=True)
class Best:
    """A trial with the best score."""

    trial: int
    score: float
    params: Params


@dataclass(frozen=True)
class Recommended:
    """The trial whose setting a model of all trials predicts to be the best."""

    trial: int
    score: float
    params: Params
    expected: float
    """The score that it predicts."""


@dataclass(frozen=True)
class WarmStart:
    """Where a study learned from at its start."""

    source: str
    """The other study's folder."""
    read: int
    used: int
    """How many of the trials read lie in this study's space."""
    settings: int = 0
    """How many settings of a folder of studies were tried first."""

    @property
    def line(self) -> str:
        """What came of it, as a line of text."""
        if self.settings:
            return f"{self.settings} settings of the studies in {self.source} were tried first"
        return f"{self.used} of {self.read} trials of {self.source} lay in this space"


@dataclass(frozen=True)
class Explored:
    """What the search came to; its trials are in the ledger."""

    metric: str
    direction: Direction
    trials: int
    outcomes: dict[str, int]
    best: Best
    """The best score of the search: one seed, chosen for its luck too."""
    lanes: int
    width: int
    """Slots of a lane."""
    ended: str | None = None
    """Why the search ended before its last trial."""
    warm_start: WarmStart | None = None
    recommended: Recommended | None = None
    """The setting that is expected to be the best; None where too few trials completed to tell."""

    @property
    def params(self) -> Params:
        """The setting that the search hands on, as far as one seed of each can tell."""
        return self.best.params if self.recommended is None else self.recommended.params


def run(spec: StudySpec, record: Record, engine: Engine) -> Explored:
    """Train `search.trials` trials of `search.epochs` epochs, or fewer where `until` says so.

    Raises:
        StudyError: not one trial completed, or there was no time for any.
    """
    job = job_of(spec, record, engine)
    rows = run_job(spec, record, engine, job)
    return concluded(spec, record, job, rows, why_ended(record, "explore", spec.store))


def job_of(spec: StudySpec, record: Record, engine: Lanes) -> Job:
    """The search as a job."""
    from lab.stages import enqueued, warm_start

    search = spec.search
    space = space_of(spec, record)
    plan = SearchPlan(
        sampler_of(spec, record),
        search.pruner,
        search.trials,
        search.epochs,
        spec.until,
        warm_start.observed_before(record, space),
        search.concurrency if isinstance(search.concurrency, int) else None,
        enqueued.settings_of(record, space),
        search.costs,
    )
    return make_job(spec, record, engine, "explore", plan, space, limits=search.limits)


def concluded(spec: StudySpec, record: Record, job: Job, rows: list[TrialRow], ended: str | None) -> Explored:
    """What a search came to whose trials have ended.

    Args:
        ended: why it ended before its last trial.

    Raises:
        StudyError: as `run`.
    """
    from lab.stages import warm_start

    assert isinstance(job.plan, SearchPlan)  # as `job_of` makes it
    if ended and not rows:
        raise StudyError(f"explore: ended before its first trial, since {ended}; a new --dir needs a later end")
    refuse_infeasible(rows, f"explore: of {len(rows)} trials", spec.search.limits)
    advice = "look at the first trial's detail in the journal"
    if any(row.outcome is Outcome.DIVERGED for row in rows):
        advice = f"lower the upper end of space.max_lr, or {advice}"
    good = completed(rows, f"explore: of {len(rows)} trials", advice)
    best = best_first(good, job.direction)[0]
    assert best.score is not None  # it completed
    return Explored(
        metric=job.metric,
        direction=job.direction,
        trials=len(rows),
        outcomes=dict(Counter(str(row.outcome) for row in rows if row.outcome is not None)),
        best=Best(best.number, best.score, best.params),
        lanes=job.lanes,
        width=job.width,
        ended=ended,
        warm_start=warm_start.warm_start_of(record, job.plan.observed),
        recommended=_recommended(job, rows, good),
    )


def _recommended(job: Job, rows: list[TrialRow], good: list[TrialRow]) -> Recommended | None:
    assert isinstance(job.plan, SearchPlan)  # as above
    ranked = expected(job.space, job.direction, job.seed, rows, job.plan.observed)
    if not ranked:
        return None
    row = best_first([row for row in good if row.params == ranked[0].params], job.direction)[0]
    assert row.score is not None  # it completed
    return Recommended(row.number, row.score, row.params, ranked[0].score)


def expected(
    space: Space, direction: Direction, seed: int, rows: Sequence[TrialRow], observed: Sequence[Observed] = ()
) -> list[Expected]:
    """The settings of a search's trials by what is expected of them; see `by_expectation`.

    Args:
        seed: of the search's job.
        observed: trials of another study that it started warm from.
    """
    from optuna.study import StudyDirection  # here: whoever lists stages needs neither

    from lab.search.expected import by_expectation
    from lab.search.observed import as_trials

    dists = distributions(space)
    trials, others = as_trials(rows, dists), as_trials(observed, dists)
    return by_expectation(trials, dists, StudyDirection[direction.upper()], seed, others, conditions(space))


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    return Trainings(spec.search.trials, spec.search.trials * spec.search.epochs)


def _headline(artefact: Explored) -> str:
    why = f"; ended since {artefact.ended}" if artefact.ended else ""
    warm = artefact.warm_start
    taught = f"; {warm.line}" if warm else ""
    failed = artefact.outcomes.get("failed", 0)
    infeasible = artefact.outcomes.get("infeasible", 0)
    ends = [f"{count} {name}" for name, count in (("failed", failed), ("infeasible", infeasible)) if count]
    lost = f" ({', '.join(ends)})" if ends else ""
    said = artefact.recommended
    other = ""
    if said is not None and said.params != artefact.best.params:
        other = f", recommended trial {said.trial} with {said.expected:.4g} expected"
    return f"{artefact.trials} trials{lost}, best {artefact.metric} {artefact.best.score:.4g}{other}{why}{taught}"


STAGE = Stage("explore", run, (Explored,), _headline, _trainings, extended="goes on")
