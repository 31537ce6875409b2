"""Stage 5: the final models. At one and the same budget per seed: a 1cycle run, a cyclical run with its snapshots,
and, as the control that snapshots must beat, independent short 1cycle runs."""

from __future__ import annotations

from typing import Any

from lab.errors import RecordError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.record.folder import Record
from lab.record.trials import TrialRow
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages.job import completed, open_to_cycles, run_job, space_of, with_cycles
from lab.tasks.task import Task

LONG, CYCLICAL, SHORT = "one_cycle", "several", "short"


def run(spec: StudySpec, record: Record, engine: Engine) -> dict[str, Any]:
    """Train the confirmed setups; weights are kept at every cycle end.

    Raises:
        StudyError: no final model completed.
    """
    final = spec.final
    confirm = record.need("confirm")["chosen"]
    one: Params = confirm["one_cycle"]["params"]
    several: Params = (confirm["several"] or confirm["one_cycle"])["params"]
    short_epochs = max(final.epochs // final.snapshots, 1)
    planned: list[Trial] = []
    for seed in range(final.seeds):
        planned.append(_plan(spec, LONG, with_cycles(one, 1), final.epochs, seed))
        planned.append(_plan(spec, CYCLICAL, with_cycles(several, final.snapshots), final.epochs, seed))
        if final.snapshots > 1:
            planned += [
                _plan(spec, SHORT, with_cycles(one, 1), short_epochs, seed, member) for member in range(final.snapshots)
            ]
    space = open_to_cycles(space_of(spec, record), (1, final.snapshots))
    job = make_job(spec, record, engine, "final", tuple(planned), space)
    rows = run_job(spec, record, engine, job)
    completed(rows, "final", "lower space.max_lr: the chosen setup diverges at the final budget")
    runs = [_entry(spec, record, plan, row) for plan, row in zip(planned, rows, strict=True)]
    artefact = {"metric": job.metric, "direction": job.direction, "epochs": final.epochs, "trials": len(rows)}
    return record.write("final", {**artefact, "runs": runs})


def _plan(spec: StudySpec, role: str, params: Params, epochs: int, seed: int, member: int = 0) -> Trial:
    return Trial(params, derive_seed(spec.seed, "final", role, seed, member), epochs, f"{role}:{seed}", keep=True)


def _ends(spec: StudySpec, plan: Trial) -> tuple[int, ...]:
    """One entry per snapshot that a completed run leaves; how many does not depend on the steps of an epoch."""
    return spec.schedule.schedule(plan.params).cycle_ends(plan.epochs * 100)


def _entry(spec: StudySpec, record: Record, plan: Trial, row: TrialRow) -> dict[str, Any]:
    role, _, seed = plan.role.partition(":")
    files = sorted(record.final_folder.glob(f"{row.number:04d}-*.safetensors"), key=lambda p: int(p.stem.split("-")[1]))
    leaves_weights = isinstance(task_of(spec), Task) and row.score is not None
    if leaves_weights and len(files) < len(_ends(spec, plan)):
        raise RecordError(
            f"{record.final_folder}: weights of trial {row.number} are missing; restore them from a copy, "
            "or run the study in a new folder"
        )
    return {
        "role": role,
        "seed": int(seed),
        "trial": row.number,
        "params": row.params,
        "epochs": row.trial.epochs,
        "outcome": str(row.outcome),
        "score": row.score,
        "snapshots": [path.name for path in files] if row.score is not None else [],
    }
