"""Stage 4: the best candidates on fresh seeds, since the best observed score was also a lucky one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any, Literal, TypeAlias

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, objective_of
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.spec.plan import Direction
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome, Trial, derive_seed
from lab.stages import explore, race
from lab.stages.explore import Best
from lab.stages.from_bounds import space_of
from lab.stages.job import best_first, completed, folds_in, no_trial, open_to_cycles, run_job, with_cycles
from lab.stages.no_hero import no_hero
from lab.stages.race import Estimate
from lab.stages.stage import Stage, Trainings
from lab.stages.statistics import Interval, mean_interval
from lab.tasks.limits import within_limits

Kind: TypeAlias = Literal["one_cycle", "several"]
_KINDS: tuple[Kind, ...] = ("one_cycle", "several")
_Planned: TypeAlias = tuple[Kind, Params, int | None]
"""A candidate's kind, setup and search trial."""


@dataclass(frozen=True)
class Candidate:
    """A setup in the race."""

    kind: Kind
    trial: int | None
    """The search trial from which it comes; None of the settings that need no search, see `lab.stages.no_hero`."""
    params: Params
    scores: tuple[float, ...]
    """On the fresh seeds on which it completed."""
    outcomes: tuple[str, ...]
    """On all of its fresh seeds."""
    summary: Interval | None
    """The interval of the scores; None where there are none."""
    unbiased: Estimate | None = None
    """What its score is worth among those of its kind."""
    observed: float | None = None
    """The score of the search that it was chosen for; None where it stands in with other cycles."""

    @property
    def worth(self) -> Estimate | Interval:
        """Its score without the luck of the choice, where that is known, and the ends of what it may be."""
        best = self.unbiased or self.summary
        assert best is not None  # of a candidate that completed
        return best

    @property
    def mean(self) -> float:
        return self.worth.mean


@dataclass(frozen=True)
class Chosen:
    """The best setup of each kind."""

    one_cycle: Candidate
    several: Candidate | None = None

    @property
    def all(self) -> tuple[Candidate, ...]:
        return (self.one_cycle,) if self.several is None else (self.one_cycle, self.several)


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The candidates and which of them were chosen."""

    metric: str
    direction: Direction
    seeds: int
    """Fresh seeds that a candidate had, unless it was clearly beaten before."""
    trials: int = 0
    observed_best: Best
    """The score in the search: the largest of many noisy ones."""
    candidates: tuple[Candidate, ...]
    chosen: Chosen


def run(spec: StudySpec, record: Record, engine: Engine) -> Confirmed:
    """Train the top candidates of one cycle and of several on fresh seeds and choose by their means.

    Raises:
        StudyError: no candidate of one cycle completed on any seed.
    """
    objective, direction = objective_of(spec)
    rows = completed(read_trials(record, "explore", spec.store), "confirm", "run stage 'explore' again")
    ranked = best_first(rows, direction)
    candidates = _candidates(spec, _by_expectation(spec, record, _by_setting(ranked, direction), direction))
    # So that a study cannot end below it unnoticed. Last: the seeds of the others do not depend on it.
    candidates.append(("one_cycle", no_hero(spec, record), None))
    seen = {row.number: row for row in rows}
    entries = [
        replace(entry, observed=None if entry.trial is None else _observed(entry, seen[entry.trial]))
        for entry in _race(spec, record, engine, candidates, direction)
    ]
    one_cycle = _choose(entries, "one_cycle", direction)
    if one_cycle is None:
        if any(Outcome.INFEASIBLE in entry.outcomes for entry in entries):
            raise StudyError("confirm: no one-cycle candidate meets search.constraints on a fresh seed; loosen them")
        raise no_trial([], "confirm: of the one-cycle candidates", "lower space.max_lr: they diverge on other seeds")
    best = ranked[0]
    assert best.score is not None  # it completed
    return Confirmed(
        metric=objective,
        direction=direction,
        seeds=spec.confirm.seeds,
        trials=sum(len(entry.outcomes) for entry in entries),
        observed_best=Best(best.number, best.score, best.params),
        candidates=tuple(entries),
        chosen=Chosen(one_cycle, _choose(entries, "several", direction)),
    )


def _race(
    spec: StudySpec, record: Record, engine: Engine, candidates: list[_Planned], direction: str
) -> list[Candidate]:
    """Train the candidates round by round on more seeds, without those of their kind that are clearly beaten.

    The plan only grows, so a race that was interrupted goes on where it was.
    """
    candidate_of: list[int] = []
    seeds: list[int] = []
    planned: list[Trial] = []
    folds = folds_in(spec)
    training = replace(spec.training(), folds=folds)
    out: set[int] = set()
    rows: list[TrialRow] = []
    entries: list[Candidate] = []
    metric, _ = objective_of(spec)
    done = 0
    for end in race.rounds(spec.confirm.seeds):
        for seed, (index, (kind, params, _)) in product(range(done, end), enumerate(candidates)):
            if index not in out:
                candidate_of.append(index)
                seeds.append(seed)
                fresh = derive_seed(spec.seed, "confirm", index, seed)
                fold = None if folds is None else folds.of_run(seed)
                planned.append(Trial(params=params, seed=fresh, epochs=spec.search.epochs, role=kind, fold=fold))
        cycles = tuple(int(p.params["cycles"]) for p in planned)
        space = open_to_cycles(space_of(spec, record), cycles)
        job = make_job(spec, record, engine, "confirm", tuple(planned), space, training, spec.search.limits)
        rows = run_job(spec, record, engine, job)
        entries = [_entry(index, candidate, rows, candidate_of) for index, candidate in enumerate(candidates)]
        done = end
        for kind in _KINDS:
            left = {i: e.scores for i, e in enumerate(entries) if e.kind == kind and i not in out and e.scores}
            if left and folds is not None:
                out |= race.beaten_in_blocks(_by_seed(rows, candidate_of, seeds, left), direction)
            elif left:
                out |= race.beaten(left, direction)
    spread = race.noise([entry.scores for entry in entries])
    entries = [
        replace(entry, summary=mean_interval(entry.scores, metric, spread=spread)) if entry.scores else entry
        for entry in entries
    ]
    return [replace(entry, unbiased=_unbiased(entry, entries, metric, spread)) for entry in entries]


def _by_seed(
    rows: list[TrialRow], candidate_of: list[int], seeds: list[int], candidates: Collection[int]
) -> dict[int, dict[int, float]]:
    """The scores of candidates by seed; those of a seed leave out the same fold."""
    scores: dict[int, dict[int, float]] = {candidate: {} for candidate in candidates}
    for row in rows:
        if row.plan_index is None or row.plan_index >= len(candidate_of) or row.score is None:
            continue
        if candidate_of[row.plan_index] in scores:
            scores[candidate_of[row.plan_index]][seeds[row.plan_index]] = row.score
    return scores


def _observed(entry: Candidate, row: TrialRow) -> float | None:
    return row.score if int(row.params.get("cycles", 1)) == int(entry.params["cycles"]) else None


def _unbiased(entry: Candidate, entries: list[Candidate], metric: str, spread: tuple[float, int]) -> Estimate | None:
    """None where no luck of a choice is in it: of settings that were not searched. `spread` is the noise of all."""
    if not entry.scores or entry.trial is None:
        return None
    mine = [e for e in entries if e.kind == entry.kind and e.scores and e.trial is not None]
    rank = next(i for i, e in enumerate(mine) if e is entry)
    estimate = race.unlucky([e.scores for e in mine], rank, spread)
    if estimate.low is None or estimate.high is None:
        return estimate
    low, high = within_limits(estimate.low, estimate.high, metric, entry.scores)
    return replace(estimate, low=low, high=high)


def _by_setting(ranked: list[TrialRow], direction: str) -> list[TrialRow]:
    """The best row of each setting with its mean score, best first: a search that trains its favourite again has two
    scores of it, of which the better is lucky and the worse no reason to leave it out."""
    of_setting: dict[tuple[Any, ...], list[TrialRow]] = {}
    for row in ranked:
        of_setting.setdefault(_setting(row.params), []).append(row)
    means = [
        replace(rows[0], score=fmean(row.score for row in rows if row.score is not None))
        for rows in of_setting.values()
    ]
    return best_first(means, direction)


def _by_expectation(spec: StudySpec, record: Record, ranked: list[TrialRow], direction: Direction) -> list[TrialRow]:
    """The rows in the order of what a model of all trials expects of their settings, where the search recommends one
    by it: with one seed for each of many settings, the best observed scores were also the luckiest."""
    from lab.stages.warm_start import observed_before

    if explore.STAGE.need(record).recommended is None:
        return ranked
    space, rows = space_of(spec, record), read_trials(record, "explore", spec.store)
    expected = explore.expected(
        space, direction, derive_seed(spec.seed, "explore"), rows, observed_before(record, space)
    )
    ranks = {_setting(one.params): rank for rank, one in reversed(list(enumerate(expected)))}
    return sorted(ranked, key=lambda row: ranks.get(_setting(row.params), len(ranks)))


def _setting(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """By which equal settings are told."""
    return tuple(sorted(params.items()))


def _candidates(spec: StudySpec, ranked: list[TrialRow]) -> list[_Planned]:
    """(kind, params, trial) of each candidate; where one kind was not searched, the best of the other stands in."""
    by_kind: dict[Kind, list[TrialRow]] = {"one_cycle": [], "several": []}
    for row in ranked:
        by_kind["one_cycle" if int(row.params.get("cycles", 1)) == 1 else "several"].append(row)
    candidates: list[_Planned] = []
    wanted: dict[Kind, int] = {"one_cycle": spec.confirm.one_cycle, "several": spec.confirm.several}
    for kind, count in wanted.items():
        cycles = 1 if kind == "one_cycle" else min(2, spec.search.epochs)
        own = [(kind, with_cycles(r.params, int(r.params.get("cycles", 1))), r.number) for r in by_kind[kind]]
        borrowed = [(kind, with_cycles(r.params, cycles), r.number) for r in ranked if r not in by_kind[kind]]
        distinct: dict[tuple[Any, ...], _Planned] = {}
        for candidate in own + borrowed:
            distinct.setdefault(_setting(candidate[1]), candidate)
        candidates += list(distinct.values())[:count]
    return candidates


def _entry(index: int, candidate: _Planned, rows: list[TrialRow], candidate_of: list[int]) -> Candidate:
    """What a candidate has scored so far; its summary asks for the noise of all."""
    kind, params, trial = candidate
    # A race that goes on after an interruption may find trials of rounds that it has not come to yet.
    planned = [row for row in rows if row.plan_index is not None and row.plan_index < len(candidate_of)]
    mine = [row for row in planned if row.plan_index is not None and candidate_of[row.plan_index] == index]
    scores = tuple(row.score for row in mine if row.score is not None)
    return Candidate(
        kind=kind,
        trial=trial,
        params=mine[0].params if mine else params,
        scores=scores,
        outcomes=tuple(str(row.outcome) for row in mine),
        summary=None,
    )


def _choose(entries: list[Candidate], kind: Kind, direction: str) -> Candidate | None:
    """The candidate that is worth most among those left in the race to its end; of these, if there are any, one that
    has completed on every seed.

    The best of several searched ones is lucky, and the settings that need no search are not: what they are worth is
    compared, not what they have scored. Where nothing but noise parts the searched ones, the best score decides.
    """
    mine = [e for e in entries if e.kind == kind and e.summary]
    furthest = max((len(e.outcomes) for e in mine), default=0)
    left = [e for e in mine if len(e.outcomes) == furthest]
    finalists = [e for e in left if all(o == "completed" for o in e.outcomes)] or left
    sign = 1 if direction == "maximize" else -1
    return max(finalists, key=lambda e: (sign * e.mean, sign * e.summary.mean if e.summary else 0.0), default=None)


def trials_at_most(spec: StudySpec) -> int:
    """Trials of a race in which nobody is beaten."""
    return (spec.confirm.one_cycle + spec.confirm.several + 1) * spec.confirm.seeds


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    count = trials_at_most(spec)
    return Trainings(count, count * spec.search.epochs)


def _headline(artefact: Confirmed) -> str:
    return "; ".join(_described(best) for best in artefact.chosen.all)


def _described(best: Candidate) -> str:
    seen = "" if best.observed is None else f" (observed {best.observed:.4g})"
    which = "best setup of" if best.trial is not None else "no setup beat the unsearched one of"
    return f"{which} {'one cycle' if best.kind == 'one_cycle' else 'several'} {best.mean:.4g}{seen}"


STAGE = Stage("confirm", run, (Confirmed,), _headline, _trainings)
