"""Stage 4: the best candidates on fresh seeds, since the best observed score was also a lucky one."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from statistics import fmean
from typing import Any

from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import race
from lab.stages.job import best_first, completed, mean_interval, open_to_cycles, run_job, space_of, with_cycles
from lab.tasks.limits import within_limits


def run(spec: StudySpec, record: Record, engine: Engine) -> dict[str, Any]:
    """Train the top candidates of one cycle and of several on fresh seeds and choose by their means.

    Raises:
        StudyError: no candidate of one cycle completed on any seed.
    """
    direction = task_of(spec).direction
    rows = completed(read_trials(record, "explore", spec.store), "confirm", "run stage 'explore' again")
    ranked = best_first(rows, direction)
    candidates = _candidates(spec, _by_setting(ranked, direction))
    seen = {row.number: row for row in rows}
    entries = [
        entry | {"observed": _observed(entry, seen[entry["trial"]])}
        for entry in _race(spec, record, engine, candidates, direction)
    ]
    chosen = {kind: _choose(entries, kind, direction) for kind in ("one_cycle", "several")}
    if chosen["one_cycle"] is None:
        completed([], "confirm: of the one-cycle candidates", "lower space.max_lr: they diverge on other seeds")
    best = ranked[0]
    artefact = {
        "metric": task_of(spec).metric,
        "direction": direction,
        "seeds": spec.confirm.seeds,
        "trials": sum(len(entry["outcomes"]) for entry in entries),
        "observed_best": {"trial": best.number, "score": best.score, "params": best.params},
        "candidates": entries,
        "chosen": chosen,
    }
    return record.write("confirm", artefact)


def _race(
    spec: StudySpec, record: Record, engine: Engine, candidates: list[tuple[str, Params, int]], direction: str
) -> list[dict[str, Any]]:
    """Train the candidates round by round on more seeds, without those of their kind that are clearly beaten.

    The plan only grows, so a race that was interrupted goes on where it was.
    """
    places: list[int] = []
    planned: list[Trial] = []
    out: set[int] = set()
    rows: list[TrialRow] = []
    entries: list[dict[str, Any]] = []
    metric = task_of(spec).metric
    done = 0
    for end in race.rounds(spec.confirm.seeds):
        for seed, (index, (kind, params, _)) in product(range(done, end), enumerate(candidates)):
            if index not in out:
                places.append(index)
                fresh = derive_seed(spec.seed, "confirm", index, seed)
                planned.append(Trial(params=params, seed=fresh, epochs=spec.search.epochs, role=kind))
        cycles = tuple(int(p.params["cycles"]) for p in planned)
        space = open_to_cycles(space_of(spec, record), cycles)
        rows = run_job(spec, record, engine, make_job(spec, record, engine, "confirm", tuple(planned), space))
        entries = [_entry(index, candidate, rows, places, metric) for index, candidate in enumerate(candidates)]
        done = end
        for kind in ("one_cycle", "several"):
            left = {i: e["scores"] for i, e in enumerate(entries) if e["kind"] == kind and i not in out and e["scores"]}
            if left:
                out |= race.beaten(left, direction)
    return [entry | {"unbiased": _unbiased(entry, entries, metric)} for entry in entries]


def _observed(entry: dict[str, Any], row: TrialRow) -> float | None:
    """The score of the search that a candidate was chosen for; None where it stands in with other cycles."""
    return row.score if int(row.params.get("cycles", 1)) == int(entry["params"]["cycles"]) else None


def _unbiased(entry: dict[str, Any], entries: list[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """What a candidate's score is worth among those of its kind."""
    mine = [e for e in entries if e["kind"] == entry["kind"] and e["scores"]]
    if not entry["scores"]:
        return None
    place = next(i for i, e in enumerate(mine) if e is entry)
    found = race.unlucky([e["scores"] for e in mine], place)
    if found.low is None or found.high is None:
        return asdict(found)
    low, high = within_limits(found.low, found.high, metric, entry["scores"])
    return asdict(found) | {"low": low, "high": high}


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


def _setting(params: Params) -> tuple[Any, ...]:
    """By which equal settings are told."""
    return tuple(sorted(params.items()))


def _candidates(spec: StudySpec, ranked: list[TrialRow]) -> list[tuple[str, Params, int]]:
    """(kind, params, trial) of each candidate; where one kind was not searched, the best of the other stands in."""
    by_kind: dict[str, list[TrialRow]] = {"one_cycle": [], "several": []}
    for row in ranked:
        by_kind["one_cycle" if int(row.params.get("cycles", 1)) == 1 else "several"].append(row)
    found: list[tuple[str, Params, int]] = []
    wanted = {"one_cycle": spec.confirm.one_cycle, "several": spec.confirm.several}
    for kind, count in wanted.items():
        cycles = 1 if kind == "one_cycle" else min(2, spec.search.epochs)
        own = [(kind, with_cycles(r.params, int(r.params.get("cycles", 1))), r.number) for r in by_kind[kind]]
        borrowed = [(kind, with_cycles(r.params, cycles), r.number) for r in ranked if r not in by_kind[kind]]
        distinct: dict[tuple[Any, ...], tuple[str, Params, int]] = {}
        for candidate in own + borrowed:
            distinct.setdefault(_setting(candidate[1]), candidate)
        found += list(distinct.values())[:count]
    return found


def _entry(
    index: int, candidate: tuple[str, Params, int], rows: list[TrialRow], places: list[int], metric: str
) -> dict[str, Any]:
    kind, params, trial = candidate
    # A race that goes on after an interruption may find trials of rounds that it has not come to yet.
    planned = [row for row in rows if row.plan_index is not None and row.plan_index < len(places)]
    mine = [row for row in planned if row.plan_index is not None and places[row.plan_index] == index]
    scores = [row.score for row in mine if row.score is not None]
    return {
        "kind": kind,
        "trial": trial,
        "params": mine[0].params if mine else params,
        "scores": scores,
        "outcomes": [str(row.outcome) for row in mine],
        "summary": mean_interval(scores, metric) if scores else None,
    }


def _choose(entries: list[dict[str, Any]], kind: str, direction: str) -> dict[str, Any] | None:
    """The candidate with the best mean among those left in the race to its end; of these, if there are any, one that
    has completed on every seed."""
    mine = [e for e in entries if e["kind"] == kind and e["summary"]]
    furthest = max((len(e["outcomes"]) for e in mine), default=0)
    left = [e for e in mine if len(e["outcomes"]) == furthest]
    finalists = [e for e in left if all(o == "completed" for o in e["outcomes"])] or left
    sign = 1 if direction == "maximize" else -1
    return max(finalists, key=lambda e: sign * float(e["summary"]["mean"]), default=None)
