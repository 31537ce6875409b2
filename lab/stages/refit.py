"""Stage 7: what is handed out. The chosen models' setups, trained once more on training and validation rows together.

What was trained on the training rows alone has given the honest choice, its temperature and its scores; the fifth of
the rows that it was judged by teaches the models that are used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

from lab.errors import RecordError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.record.artefact import Measured
from lab.record.folder import Record, write_bytes
from lab.record.trials import TrialRow
from lab.spec.snapshot_file import snapshot_file, snapshot_of
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import ensemble, final
from lab.stages.diagnostics import Diagnostics, Example
from lab.stages.ensemble import BASELINE, Member, baseline_file
from lab.stages.from_bounds import space_of
from lab.stages.job import open_to_cycles, run_job
from lab.stages.stage import Skipped, Stage, Trainings


@dataclass(frozen=True, kw_only=True)
class Refitted:
    """The models that are handed out, and their scores on the test split."""

    metric: str
    trained_on: int
    """Examples that each was trained on."""
    trials: int = 0
    epochs: int
    """Epochs of all of them together."""
    lost: int = 0
    """Runs that did not complete, and whose members are left out."""
    members: tuple[Member, ...]
    temperature: float
    """That of the models chosen before: of their own, no row is left to fit one on."""
    test: dict[str, Measured]
    """By metric."""
    examples: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    """Those of the test split that it is most wrong, and least sure, about."""
    lacks: tuple[str, ...] = ()
    """What could not be made beside the models, and why."""
    diagnostics: tuple[Diagnostics, ...] = ()
    """What it does on the test split, by target; an earlier version counted nothing."""

    @property
    def test_score(self) -> float:
        return self.test[self.metric]


def _needless(record: Record) -> str | None:
    try:
        chosen = ensemble.STAGE.if_any(record)
    except RecordError:  # whoever reads that stage is told
        return None
    if chosen is None or chosen.chosen.start_valid_loss is not None:
        return None
    return "the ensemble was chosen by a version that trained nothing once more"


def run(spec: StudySpec, record: Record, engine: Engine) -> Refitted | Skipped:
    """Train the setups of the chosen members on all rows but the test split's, and score on these.

    Raises:
        RecordError: weights that were trained are missing.
    """
    import torch

    from lab.record.estimators import pack_estimator
    from lab.stages.baselines import fit_again
    from lab.stages.diagnose import diagnose
    from lab.stages.examples import telling_examples
    from lab.stages.heat_maps import with_heat_maps
    from lab.stages.predictor import mean_prediction
    from lab.stages.predicts import as_thresholds
    from lab.tasks.beside import Beside
    from lab.tasks.task import TRAIN_AND_VALID, Task
    from lab.training.ensemble import scores

    artefact = ensemble.STAGE.complete(record)
    if isinstance(artefact, Skipped):
        return artefact
    if not spec.final.refit:
        return Skipped("final.refit is false")
    task, chosen = task_of(spec), artefact.chosen
    assert isinstance(task, Task)  # a trial function's study has skipped its ensemble
    source = {file: run for run in final.STAGE.need(record).runs for file in run.files}
    nets = chosen.nets
    runs = {source[member.file].trial: source[member.file] for member in nets}
    copies = range(spec.final.refit_seeds)
    rows = _train(spec, record, engine, [_again(spec, run, copy) for copy in copies for run in runs.values()])
    each = zip(product(copies, runs), rows, strict=True)
    whole = {of: row.number for of, row in each if row.score is not None}
    members = [
        replace(member, file=_same_snapshot(member.file, whole[of]), weight=member.weight / len(copies))
        for copy, member in product(copies, nets)
        if (of := (copy, source[member.file].trial)) in whole
    ]
    if not members:
        return Skipped(f"not one of {len(rows)} runs on training and validation rows completed")
    for name, weight in chosen.others.items():
        content = pack_estimator(fit_again(spec, task, name))
        assert content is not None  # as it was when it was chosen
        write_bytes(record.refit_folder / baseline_file(name), content)
        members.append(Member(baseline_file(name), {}, weight, role=BASELINE, name=name))
    total = sum(member.weight for member in members)
    members = [replace(member, weight=member.weight / total) for member in members]
    x, y = task.data("test")
    prediction = mean_prediction(task, record.refit_folder, members, x, chosen.temperature)
    thresholds = as_thresholds(chosen.thresholds, prediction)
    if not torch.isfinite(prediction).all():
        return Skipped("what was trained on training and validation rows predicts numbers that are not finite")
    beside = Beside()
    scored = scores(prediction, y, task.kind, task.metrics, thresholds, beside)
    none: dict[str, tuple[Example, ...]] = {}
    plain = beside.made("examples", lambda: telling_examples(task, prediction, y, thresholds), none)
    examples = beside.made("heat maps", lambda: with_heat_maps(task, record.refit_folder, members, x, plain), plain)
    return Refitted(
        metric=task.metric,
        trained_on=sum(len(task.data(split)[0]) for split in TRAIN_AND_VALID),
        trials=len(rows),
        epochs=sum(row.trial.epochs for row in rows),
        lost=len(rows) - len(whole),
        members=tuple(members),
        temperature=chosen.temperature,
        test=scored,
        examples=examples,
        diagnostics=diagnose(task, prediction, y, beside, thresholds, spec.seed),
        lacks=beside.lacks,
    )


def _again(spec: StudySpec, run: final.Run, copy: int) -> Trial:
    more = (copy,) if copy else ()  # the first is the one that earlier versions trained
    seed = derive_seed(spec.seed, "refit", run.role, run.seed, *more)
    return Trial(run.params, seed, run.epochs, run.role, keep=True)


def _train(spec: StudySpec, record: Record, engine: Engine, planned: list[Trial]) -> list[TrialRow]:
    ema_decay = spec.final.ema_decay
    training = replace(spec.training(), weights=record.refit_folder.name, with_valid=True, ema_decay=ema_decay)
    space = open_to_cycles(space_of(spec, record), tuple(int(trial.params["cycles"]) for trial in planned))
    job = make_job(spec, record, engine, "refit", tuple(planned), space, training)
    # There is nothing to validate on: a trial's score is its training loss, which says whether it is sound.
    return run_job(spec, record, engine, replace(job, metric="train_loss", direction="minimize"))


def _same_snapshot(file: str, trial: int) -> str:
    """The snapshot of another trial at the end of the same cycle."""
    snapshot = snapshot_of(file)
    if snapshot is None:
        raise RecordError(f"{file[:80]!r}: is no name of a snapshot; restore ensemble.json from a copy")
    return snapshot_file(trial, snapshot[1])


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    runs = final.refits_at_most(spec)
    averages = spec.final.refit_seeds * spec.final.seeds if spec.final.ema_decay is not None else 0
    snapshots = runs + averages + spec.final.refit_seeds * final.snapshots_more(spec) if runs else 0
    return Trainings(runs, runs * spec.final.epochs, snapshots=snapshots)


def _headline(artefact: Refitted) -> str:
    count = len(artefact.members)
    return (
        f"{count} model{'s' if count > 1 else ''} trained on {artefact.trained_on} examples, validation included: "
        f"test {artefact.metric} {artefact.test_score:.4g}"
    )


STAGE = Stage("refit", run, (Refitted,), _headline, _trainings, needless=_needless)
