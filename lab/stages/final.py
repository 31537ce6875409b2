"""Stage 5: the final models: 1cycle runs, cyclical runs with their snapshots where these may earn something, and
beside them what the models are compared with. They are trained on the training rows alone, so that the validation rows
can judge them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.errors import RecordError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.record.folder import Record
from lab.record.snapshots import snapshots_of
from lab.record.trials import TrialRow
from lab.spec.folds import Folds
from lab.spec.plan import Direction
from lab.spec.space import Params, ends
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import bounds, confirm, explore, race, short_trials
from lab.stages.from_bounds import space_of
from lab.stages.job import completed, folds_in, open_to_cycles, run_job, with_cycles
from lab.stages.no_hero import no_hero
from lab.stages.stage import Stage, Trainings

LONG, SHORTER, CYCLICAL = "one_cycle", "shorter", "several"
"""Roles of the runs from which the models that are handed out are chosen; a shorter 1cycle run is as long as a trial of
the search, since longer is not always better."""
MODELS = (LONG, SHORTER, CYCLICAL)
_MOST_SEEDS = 9
"""A mean of more gains hardly anything."""
AVERAGED = "averaged"
"""The role of the moving average of a 1cycle run's weights, which stands behind its last weights."""
MORE, NO_HERO = "more", "no_hero"
"""Roles of controls: more 1cycle runs of the confirmed setup, and runs at settings that need no search."""


@dataclass(frozen=True)
class Run:
    """A final model's training."""

    role: str
    seed: int
    """Which of its role, from 0 on; controls that go on with the seeds of the models count from there."""
    trial: int
    params: Params
    epochs: int
    outcome: str
    score: float | None
    snapshots: tuple[str, ...]
    """Files of its weights in `final/`, one per cycle."""
    averaged: str | None = None
    """The file of the moving average of its weights."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of its weights."""
        return self.snapshots if self.averaged is None else (*self.snapshots, self.averaged)

    def role_of(self, file: str) -> str:
        """That of one of these files."""
        return AVERAGED if file == self.averaged else self.role


@dataclass(frozen=True, kw_only=True)
class Final:
    """The final models."""

    metric: str
    direction: Direction
    epochs: int
    """Epochs of a run at full length."""
    trials: int = 0
    runs: tuple[Run, ...]
    no_snapshots: str | None = None
    """Why no cyclical run was trained."""
    seeds_added: int = 0
    """Seeds beyond those that were planned, for what a budget had left."""


def run(spec: StudySpec, record: Record, engine: Engine) -> Final:
    """Train the confirmed setups and the controls; weights are kept at every cycle end.

    Raises:
        StudyError: no final model completed.
    """
    from lab.tasks.task import Task  # here: whoever lists stages needs no torch

    confirmed = confirm.STAGE.need(record)
    seeds = spec.final.seeds
    tested = bounds.STAGE.if_any(record)
    short = 0 if tested is None else short_trials.in_trials(spec, tested.short_trainings)
    spec = _with_more_seeds(spec, short + explore.STAGE.need(record).trials + confirmed.trials)
    folds = folds_in(spec)
    planned = _models(spec, confirmed, folds)
    if isinstance(task_of(spec), Task):  # a trial function has no test split to be compared on
        planned += _controls(spec, confirmed, no_hero(spec, record), short, folds)
    cycles = tuple(dict.fromkeys(int(trial.params["cycles"]) for trial in planned))
    space = open_to_cycles(space_of(spec, record), cycles)
    training = replace(spec.training(), folds=folds, ema_decay=spec.final.ema_decay)
    job = make_job(spec, record, engine, "final", tuple(planned), space, training)
    rows = run_job(spec, record, engine, job)
    models = [row for row, plan in zip(rows, planned, strict=True) if _role(plan) in MODELS]
    completed(models, "final", "lower space.max_lr: the chosen setup diverges at the final budget")
    runs = tuple(_entry(spec, record, plan, row) for plan, row in zip(planned, rows, strict=True))
    return Final(
        metric=job.metric,
        direction=job.direction,
        epochs=spec.final.epochs,
        trials=len(rows),
        runs=runs,
        no_snapshots=_no_snapshots(spec, confirmed, folds),
        seeds_added=spec.final.seeds - seeds,
    )


def _with_more_seeds(spec: StudySpec, trials: int) -> StudySpec:
    """The spec with as many more final seeds as the budget has left after so many trials of the search's length."""
    if spec.budget is None or spec.budget.epochs is None:
        return spec
    left = spec.budget.epochs - trials * spec.search.epochs
    for seeds in range(_MOST_SEEDS, spec.final.seeds, -1):
        more = spec.changed(final={"seeds": seeds})
        if _trainings(more, None).epochs + refits_at_most(more) * spec.final.epochs <= left:
            return more
    return spec


def _models(spec: StudySpec, confirmed: confirm.Confirmed, folds: Folds | None = None) -> list[Trial]:
    final = spec.final
    one = with_cycles(confirmed.chosen.one_cycle.params, 1)
    planned = [_plan(spec, LONG, one, seed, folds) for seed in range(final.seeds)]
    shorter = shorter_epochs(spec)
    if shorter:
        planned += [replace(_plan(spec, SHORTER, one, seed, folds), epochs=shorter) for seed in range(final.seeds)]
    if _no_snapshots(spec, confirmed, folds) is not None:
        return planned
    setup = (confirmed.chosen.several or confirmed.chosen.one_cycle).params
    cycles = final.snapshots if isinstance(final.snapshots, int) else int(setup["cycles"])
    setup = with_cycles(setup, cycles)
    return planned + [_plan(spec, CYCLICAL, setup, seed, folds) for seed in range(final.cyclical_seeds)]


def shorter_epochs(spec: StudySpec) -> int:
    """Epochs of the shorter 1cycle runs; 0: there are none."""
    return spec.search.epochs if spec.search.epochs < spec.final.epochs else 0


def runs_at_most(spec: StudySpec) -> int:
    """Runs of full length that cost what is handed out may cost: all models, and one refit of all but the shorter."""
    final = spec.final
    long = (2 if final.refit else 1) * (final.seeds + final.cyclical_seeds)
    return long - (-final.seeds * shorter_epochs(spec) // final.epochs)


def refits_at_most(spec: StudySpec) -> int:
    """Runs on training and validation rows together."""
    final = spec.final
    return final.refit_seeds * (final.seeds + final.cyclical_seeds) if final.refit else 0


def _no_snapshots(spec: StudySpec, confirmed: confirm.Confirmed, folds: Folds | None = None) -> str | None:
    """Why no cyclical run is trained; None where one is."""
    if spec.final.snapshots == 1:
        return "final.snapshots is 1"
    if folds is not None and spec.final.cyclical_seeds < folds.count:
        return f"cyclical runs would be {spec.final.cyclical_seeds}, fewer than the {folds.count} folds"
    if spec.final.snapshots != "auto":
        return None
    several = confirmed.chosen.several
    if several is None:
        return "no setup of several cycles was confirmed"
    if int(several.params["cycles"]) > spec.final.epochs:
        return f"{several.params['cycles']} cycles do not fit into {spec.final.epochs} epochs"
    of_kind = {0: confirmed.chosen.one_cycle.scores, 1: several.scores}
    if 1 in race.beaten(of_kind, confirmed.direction):
        return "several cycles were clearly beaten by one"
    return None


def _controls(
    spec: StudySpec, confirmed: confirm.Confirmed, unsearched: Params, short: int = 0, folds: Folds | None = None
) -> list[Trial]:
    """As many runs of each kind as what is handed out takes, or for no hero as the whole study takes.

    Args:
        short: the trainings that decided on the range test's suggestion, in trials of the search, which cost what those
            that confirmed do.
    """
    final = spec.final
    if final.controls == "none":
        return []
    one = with_cycles(confirmed.chosen.one_cycle.params, 1)
    more = [_plan(spec, MORE, one, seed, folds) for seed in range(final.seeds, runs_at_most(spec))]
    runs = _unsearched_runs(spec, confirmed.trials + short)
    return more + [_plan(spec, NO_HERO, unsearched, seed, folds) for seed in range(runs)]


def _unsearched_runs(spec: StudySpec, before: int) -> int:
    """Runs without a search, where so many trainings of the search's length came before beside the search."""
    runs = runs_at_most(spec)
    if spec.final.controls == "full":
        runs += -(-(spec.search.trials + before) * spec.search.epochs // spec.final.epochs)
    return runs


def _plan(spec: StudySpec, role: str, params: Params, seed: int, folds: Folds | None) -> Trial:
    fresh = derive_seed(spec.seed, "final", role, seed, 0)
    return Trial(params, fresh, spec.final.epochs, f"{role}:{seed}", keep=True, fold=fold_of(seed, folds))


def fold_of(seed: int, folds: Folds | None) -> int | None:
    """The fold that a run leaves out, by which of its role it is."""
    return None if folds is None else folds.of_run(seed)


def _is_averaged(spec: StudySpec, role: str, cycles: int) -> bool:
    """Whether the average of a run's weights is one of the models to choose from. Controls are as they were without."""
    return spec.final.ema_decay is not None and role in (LONG, SHORTER) and cycles == 1


def _role(plan: Trial) -> str:
    return plan.role.partition(":")[0]


def _ends(spec: StudySpec, plan: Trial) -> tuple[int, ...]:
    """One entry per snapshot that a completed run leaves; how many does not depend on the steps of an epoch."""
    return spec.schedule.schedule(plan.params).cycle_ends(plan.epochs * 100)


def _entry(spec: StudySpec, record: Record, plan: Trial, row: TrialRow) -> Run:
    from lab.tasks.task import Task  # as in `run`

    role, _, seed = plan.role.partition(":")
    files = snapshots_of(record.final_folder, row.number)
    leaves_weights = isinstance(task_of(spec), Task) and row.score is not None
    ends = len(_ends(spec, plan))
    is_averaged = leaves_weights and _is_averaged(spec, role, ends)
    if leaves_weights and len(files) < ends + is_averaged:
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
        snapshots=tuple(path.name for path in files[:ends]) if row.score is not None else (),
        averaged=files[ends].name if is_averaged else None,
    )


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    final = spec.final
    runs = final.seeds + final.cyclical_seeds
    if final.controls != "none":
        before = confirm.trials_at_most(spec) + short_trials.in_trials(spec, short_trials.at_most(spec))
        runs += runs_at_most(spec) - final.seeds + _unsearched_runs(spec, before)
    shorter = final.seeds if shorter_epochs(spec) else 0
    averages = runs - final.cyclical_seeds + shorter if final.ema_decay is not None else 0
    return Trainings(
        runs + shorter,
        runs * final.epochs + shorter * shorter_epochs(spec),
        snapshots=runs + shorter + averages + snapshots_more(spec),
    )


def snapshots_more(spec: StudySpec) -> int:
    """Snapshots that cyclical runs leave beyond one for each, at most."""
    searched = ends(spec.space["cycles"]) if "cycles" in spec.space else ()
    most = max(map(int, searched), default=1)
    cycles = spec.final.snapshots if isinstance(spec.final.snapshots, int) else most
    return spec.final.cyclical_seeds * (cycles - 1)


def _headline(artefact: Final) -> str:
    beside = sum(run.role in (MORE, NO_HERO) for run in artefact.runs)
    what = f"{len(artefact.runs) - beside} models" + (f", {beside} to compare with" if beside else "")
    if artefact.seeds_added:
        what += f"; {artefact.seeds_added} seeds more, for what the budget had left"
    return what + (f"; no snapshots: {artefact.no_snapshots}" if artefact.no_snapshots else "")


STAGE = Stage("final", run, (Final,), _headline, _trainings)
