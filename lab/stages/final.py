"""Stage 5: the final models. At one and the same budget per seed: a 1cycle run, a cyclical run with its snapshots,
and, as the control that snapshots must beat, independent short 1cycle runs."""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import RecordError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.record.folder import Record
from lab.record.trials import TrialRow
from lab.spec.plan import Direction
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import confirm
from lab.stages.from_bounds import space_of
from lab.stages.job import completed, open_to_cycles, run_job, with_cycles
from lab.stages.stage import Stage, Trainings

LONG, CYCLICAL, SHORT = "one_cycle", "several", "short"


@dataclass(frozen=True)
class Run:
    """A final model's training."""

    role: str
    seed: int
    """Which of the `final.seeds`."""
    trial: int
    params: Params
    epochs: int
    outcome: str
    score: float | None
    snapshots: tuple[str, ...]
    """Files of its weights in `final/`, one per cycle."""


@dataclass(frozen=True, kw_only=True)
class Final:
    """The final models."""

    metric: str
    direction: Direction
    epochs: int
    """Epochs of a run at full length."""
    trials: int = 0
    runs: tuple[Run, ...]


def run(spec: StudySpec, record: Record, engine: Engine) -> Final:
    """Train the confirmed setups; weights are kept at every cycle end.

    Raises:
        StudyError: no final model completed.
    """
    final = spec.final
    chosen = confirm.STAGE.need(record).chosen
    one = chosen.one_cycle.params
    several = (chosen.several or chosen.one_cycle).params
    planned: list[Trial] = []
    for seed in range(final.seeds):
        planned.append(_plan(spec, LONG, with_cycles(one, 1), final.epochs, seed))
        planned.append(_plan(spec, CYCLICAL, with_cycles(several, final.snapshots), final.epochs, seed))
        if final.snapshots > 1:
            planned += [
                _plan(spec, SHORT, with_cycles(one, 1), _short_epochs(spec), seed, member)
                for member in range(final.snapshots)
            ]
    space = open_to_cycles(space_of(spec, record), (1, final.snapshots))
    job = make_job(spec, record, engine, "final", tuple(planned), space)
    rows = run_job(spec, record, engine, job)
    completed(rows, "final", "lower space.max_lr: the chosen setup diverges at the final budget")
    runs = tuple(_entry(spec, record, plan, row) for plan, row in zip(planned, rows, strict=True))
    return Final(metric=job.metric, direction=job.direction, epochs=final.epochs, trials=len(rows), runs=runs)


def _short_epochs(spec: StudySpec) -> int:
    """Epochs of one of the short runs, which together are as long as a run with snapshots."""
    return max(spec.final.epochs // spec.final.snapshots, 1)


def _plan(spec: StudySpec, role: str, params: Params, epochs: int, seed: int, member: int = 0) -> Trial:
    return Trial(params, derive_seed(spec.seed, "final", role, seed, member), epochs, f"{role}:{seed}", keep=True)


def _ends(spec: StudySpec, plan: Trial) -> tuple[int, ...]:
    """One entry per snapshot that a completed run leaves; how many does not depend on the steps of an epoch."""
    return spec.schedule.schedule(plan.params).cycle_ends(plan.epochs * 100)


def _entry(spec: StudySpec, record: Record, plan: Trial, row: TrialRow) -> Run:
    from lab.tasks.task import Task  # here: whoever lists stages needs no torch

    role, _, seed = plan.role.partition(":")
    files = sorted(record.final_folder.glob(f"{row.number:04d}-*.safetensors"), key=lambda p: int(p.stem.split("-")[1]))
    leaves_weights = isinstance(task_of(spec), Task) and row.score is not None
    if leaves_weights and len(files) < len(_ends(spec, plan)):
        raise RecordError(
            f"{record.final_folder}: weights of trial {row.number} are missing; restore them from a copy, "
            "or run the study in a new folder"
        )
    return Run(
        role=role,
        seed=int(seed),
        trial=row.number,
        params=row.params,
        epochs=row.trial.epochs,
        outcome=str(row.outcome),
        score=row.score,
        snapshots=tuple(path.name for path in files) if row.score is not None else (),
    )


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    final = spec.final
    shorts = final.snapshots if final.snapshots > 1 else 0
    epochs = 2 * final.epochs + shorts * _short_epochs(spec)
    return Trainings(final.seeds * (2 + shorts), final.seeds * epochs)


def _headline(artefact: Final) -> str:
    return f"{len(artefact.runs)} models"


STAGE = Stage("final", run, (Final,), _headline, _trainings)
