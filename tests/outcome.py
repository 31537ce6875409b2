"""What a study comes to, whatever happened on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.record.folder import Record
from lab.record.trials import read_stages
from lab.stages import STAGES, TRAINS
from lab.study.study import Study

NAMES = [stage.name for stage in STAGES]


def outcome_of(folder: Path, until: str = NAMES[-1]) -> dict[str, Any]:
    """All that must not depend on what happened on the way."""
    record, stages = Record(folder), NAMES[: NAMES.index(until) + 1]
    trials = {
        stage: [(r.number, r.params, r.outcome, r.score, r.curve, r.trial.seed, r.step_losses) for r in rows]
        for stage, rows in read_stages(record, [stage for stage in TRAINS if stage in stages]).items()
    }
    result = Study.open(folder).result
    artefacts = {stage: result.artefact(stage) for stage in stages}
    for baseline in artefacts.get("ensemble", {}).get("baselines", ()):
        del baseline["fit_s"]  # how long it took
    kept = [path for stage in ("final", "refit") if stage in stages for path in sorted(folder.glob(f"{stage}/[!.]*"))]
    weights = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in kept}
    return {"trials": trials, "artefacts": artefacts, "weights": weights}
