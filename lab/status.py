"""Where a study is, for people and for programs."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from lab.study import STAGES, Study, headline
from lab.trials import read_trials


def status_of(study: Study) -> dict[str, Any]:
    """Each stage's state, its trials by outcome, and the best score so far; plain values."""
    stages: dict[str, Any] = {}
    for stage in STAGES:
        artefact = study.record.artefact(stage)
        rows = read_trials(study.record, stage, study.spec.store)
        counts = Counter("waiting or running" if row.outcome is None else str(row.outcome) for row in rows)
        scores = [row.score for row in rows if row.score is not None]
        state = "complete" if artefact is not None else ("begun" if rows else "not begun")
        stages[stage] = {
            "state": state,
            "trials": dict(counts),
            "scores": [min(scores), max(scores)] if scores else None,
        }
        if artefact is not None:
            stages[stage]["found"] = headline(stage, artefact)
    complete = all(stage["state"] == "complete" for stage in stages.values())
    return {
        "name": study.spec.name,
        "folder": str(study.record.folder),
        "complete": complete,
        "planned_trials": study.spec.search.trials,
        "stages": stages,
    }


def describe_status(found: dict[str, Any]) -> str:
    """The same as lines of text."""
    lines = [f"{found['name']} in {found['folder']}: {'complete' if found['complete'] else 'not complete'}"]
    for stage, entry in found["stages"].items():
        trials = ", ".join(f"{n} {outcome}" for outcome, n in entry["trials"].items())
        scores = f"; scores {entry['scores'][0]:.4g} to {entry['scores'][1]:.4g}" if entry["scores"] else ""
        told = entry.get("found", "")
        lines.append(f"  {stage:9} {entry['state']:9} {told or trials}{scores if not told else ''}".rstrip())
    if not found["complete"]:
        lines.append(f"resume with: lab study resume {shlex.quote(found['folder'])}")
    return "\n".join(lines)
