"""Stage 2: the search. Trials proposed by a sampler, trained by lanes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job
from lab.record.folder import Record
from lab.record.trials import why_ended
from lab.spec.plan import SearchPlan
from lab.spec.study import StudySpec
from lab.stages import warm_start
from lab.stages.job import best_first, completed, run_job, sampler_of, space_of


def run(spec: StudySpec, record: Record, engine: Engine) -> dict[str, Any]:
    """Train `search.trials` trials of `search.epochs` epochs, or fewer where `until` says so.

    Raises:
        StudyError: not one trial completed, or there was no time for any.
    """
    search = spec.search
    space = space_of(spec, record)
    known = warm_start.known(record, space)
    plan = SearchPlan(sampler_of(spec, record), search.pruner, search.trials, search.epochs, spec.until, known)
    job = make_job(spec, record, engine, "explore", plan, space)
    rows = run_job(spec, record, engine, job)
    ended = why_ended(record, "explore", spec.store)
    if ended and not rows:
        raise StudyError(f"explore: ended before its first trial, since {ended}; a new --dir needs a later end")
    good = completed(
        rows,
        f"explore: of {len(rows)} trials",
        "lower the upper end of space.max_lr, or look at the first trial's detail in the journal",
    )
    best = best_first(good, job.direction)[0]
    return record.write(
        "explore",
        {
            "metric": job.metric,
            "direction": job.direction,
            "trials": len(rows),
            "outcomes": dict(Counter(str(row.outcome) for row in rows if row.outcome is not None)),
            "best": {"trial": best.number, "score": best.score, "params": best.params},
            "lanes": job.lanes,
            "width": job.width,
            "ended": ended,
            "warm_start": warm_start.told(record, known),
        },
    )
