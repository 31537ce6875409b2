"""Examples whose labels are probably wrong: those that models which did not see them are most wrong about.

A model that learned from an example has learned its label too, right or wrong. So the confirmed setup is trained anew
on all training and validation rows but a fold, each fold in turn, and judges the rows that were left out.
Shapes: n rows of training and, behind them, of validation; c classes or labels; t values.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.spec.folder_names import SUSPECTS, side_folder
from lab.spec.folds import Folds
from lab.spec.trial import Trial, derive_seed
from lab.stages import confirm
from lab.stages.job import open_to_cycles, run_aside, with_cycles
from lab.study.data import open_data
from lab.study.machines import with_flags
from lab.study.progress import Display
from lab.study.stop import stop_on_interrupt
from lab.study.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from lab.lanes.engine import Engine
    from lab.spec.study import StudySpec
    from lab.tasks.task import Task

NAME = SUSPECTS
FEWEST = 100
"""Rows that are told of at least, however few labels are suspected."""


@dataclass(frozen=True)
class Suspects:
    """What out-of-sample predictions say of every label."""

    rows: pd.DataFrame
    """Every row, the most doubtful first: `split` and `index` in it, what is `given` and `predicted`, how probable the
    given is to the models (`p_given`; of values how far it is off, in robust standard deviations: `deviations`), its
    `loss`, and whether it is a `suspect`: confidently of another class, or beyond 3.5 deviations. Where an example has
    several labels or values, `of` names the most doubtful."""
    folds: int
    models: int
    """Trained models, of which each row was judged by those that had not seen it."""
    task: Task

    @property
    def count(self) -> int:
        """How many labels are probably wrong."""
        return int(self.rows["suspect"].sum()) if "suspect" in self.rows else 0

    def shown(self, most: int | None = None) -> pd.DataFrame:
        """The first rows with what the task shows of each: where it stands in the file, its name, its text.

        Args:
            most: None: all suspects, and 100 rows at least.
        """
        import pandas as pd

        first = self.rows.head(max(self.count, FEWEST) if most is None else most).reset_index(drop=True)
        named = zip(first["split"], first["index"], strict=True)
        shown = pd.DataFrame([_words(self.task, split, int(index)) for split, index in named])
        names = {name: f"{name} (input)" if name in first else str(name) for name in shown}
        return pd.concat([first, shown.rename(columns=names)], axis=1)


def _words(task: Task, split: Any, index: int) -> dict[str, str]:
    """What a task shows of an example, without its picture: a table of them is for reading."""
    return {name: text for name, text in task.show(split, index).items() if name != "image"}


def suspects(
    study: Study,
    *,
    folds: int = 5,
    seeds: int = 2,
    engine: str | None = None,
    address: str | None = None,
    lanes: int | None = None,
    quiet: bool = True,
) -> Suspects:
    """Train the confirmed setup without each fold, and rank all training and validation rows by the doubt in their
    labels (confident learning: Northcutt, Jiang and Chuang 2021, arXiv 1911.00068). The test split is not looked at.

    What is interrupted goes on when it is called again alike. Runs are as long as those of the search.

    Args:
        folds: in how many the rows are parted. A task that has folds of its own keeps to them.
        seeds: models for each fold, whose mean judges.
        engine, address, lanes: as in `Study.run`.

    Raises:
        RecordError: another user has begun the study, or stage `confirm` has not run.
        SpecError: fewer than 2 folds or 1 seed, or more folds than rows.
        StudyError: a trial function, nets that have learned from the labels before, or a fold without a run that
            completed.
    """
    from lab.lanes.speed.choose import open_lanes
    from lab.tasks.load import load_task
    from lab.tasks.task import Task

    for name, value, least in (("--folds", folds, 2), ("--seeds", seeds, 1)):
        if value < least:
            raise SpecError(name, f"{value} is not at least {least}")
    study.require_own()
    confirmed = confirm.STAGE.need(study.record)
    spec = with_flags(study.spec, engine, lanes, None, address)
    with study.record.driver_lock(), Display(quiet) as display, stop_on_interrupt(display):
        if not isinstance(load_task(spec.task), Task):
            raise StudyError("a trial function predicts nothing that its labels could be judged by")
        spec, _ = open_data(spec, study.record)
        task = load_task(spec.task)
        assert isinstance(task, Task)  # as above
        if task.learned_before:
            raise StudyError(f"{NAME}: {task.learned_before} has learned from all training labels; ask its own study")
        parted = folds_for(task, folds, derive_seed(spec.seed, NAME))
        params = with_cycles(confirmed.chosen.one_cycle.params, 1)
        plan = tuple(
            Trial(params, derive_seed(spec.seed, NAME, seed, fold), spec.search.epochs, keep=True, fold=fold)
            for seed in range(seeds)
            for fold in range(parted.count)
        )
        epochs = sum(trial.epochs for trial in plan)
        lanes_of, spec = open_lanes(
            spec, study.record, display.watch, _nothing, address, lambda epoch_steps: epochs * epoch_steps
        )
        try:
            files, work = _trained(spec, study.record, lanes_of, parted, plan)
        finally:
            lanes_of.close()
        rows = judged(task, _out_of_fold(task, parted, files))
        shutil.rmtree(work)
    return Suspects(rows, parted.count, len(files), task)


def folds_for(task: Task, count: int, seed: int) -> Folds:
    """The task's own folds, or as many as asked for: rows of a group together, of each class as many in each.

    Raises:
        SpecError: there are fewer rows, or groups of rows, than folds.
    """
    import numpy as np

    from lab.tasks.folds import folds_of
    from lab.tasks.splits import dealt_by_group
    from lab.tasks.task import TRAIN_AND_VALID

    own = folds_of(task)
    if own is not None:
        return own
    y = np.concatenate([task.data(split)[1].cpu().numpy() for split in TRAIN_AND_VALID])
    groups = task.group_of_rows()
    there = len(y) if groups is None else len(np.unique(groups))
    if there < count:
        raise SpecError("--folds", f"{count} is above the {there} {'rows' if groups is None else 'groups of rows'}")
    random = np.random.default_rng(seed)
    if groups is not None:
        return Folds(tuple(dealt_by_group(np.asarray(groups), count, random).tolist()))
    order = random.permutation(len(y))
    if task.kind == "classification" and y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    dealt = np.empty(len(y), dtype=np.int64)
    dealt[order] = np.arange(len(y)) % count
    return Folds(tuple(dealt.tolist()))


def _nothing(line: str) -> None:
    """What lanes say is of proposals, and there are none here."""


def _trained(
    spec: StudySpec, record: Record, engine: Engine, folds: Folds, plan: tuple[Trial, ...]
) -> tuple[list[tuple[Trial, Path]], Path]:
    """Each completed run with the file of its weights, and the folder in which all was trained; the same question finds
    it again."""
    from lab.lanes.job import make_job
    from lab.stages.from_bounds import space_of

    work = record.folder / side_folder(NAME, repr((folds.fold_of, plan)))
    space = open_to_cycles(space_of(spec, record), (1,))
    job = make_job(spec, record, engine, NAME, plan, space, replace(spec.training(), folds=folds, weights="weights"))
    trained = run_aside(spec, work, engine, job, NAME, "look at the study's own trials with lab study show")
    lost = set(range(folds.count)) - {trial.fold for trial, _ in trained}
    if lost:
        raise StudyError(f"{NAME}: no run without fold {min(lost)} completed; take more --seeds")
    return trained, work


def _out_of_fold(task: Task, folds: Folds, trained: Sequence[tuple[Trial, Path]]) -> Tensor:
    """For each row [n, ...] the mean prediction of the models that were trained without it."""
    import torch

    from lab.stages.predictor import member_outputs
    from lab.tasks.folds import Part

    means, rows = [], []
    for fold in range(folds.count):
        x = Part(task, folds, fold).valid[0]
        outputs = [member_outputs(task, file, trial.params, x) for trial, file in trained if trial.fold == fold]
        means.append(torch.stack(outputs).mean(dim=0))
        rows.append(torch.from_numpy(folds.held_out(fold)))
    order = torch.cat(rows).argsort()
    return torch.cat(means)[order]


def judged(task: Task, prediction: Tensor) -> pd.DataFrame:
    """Every row of `Suspects.rows`, by what models predict [n, ...] that did not see it."""
    import pandas as pd

    from lab.tasks.task import TRAIN_AND_VALID, joined

    splits = [(split, index) for split in TRAIN_AND_VALID for index in range(len(task.data(split)[1]))]
    _, y = joined(map(task.data, TRAIN_AND_VALID))
    columns, doubt = _doubts(task, prediction, y)
    table = pd.DataFrame(splits, columns=["split", "index"]).assign(**columns)
    order = doubt.argsort(descending=True, stable=True).tolist()
    return table.iloc[order].reset_index(drop=True)


def _doubts(task: Task, prediction: Tensor, y: Tensor) -> tuple[dict[str, Any], Tensor]:
    """The columns of a table of all rows, and by what they are ranked [n]."""
    if task.kind == "regression" and prediction.shape == y.shape:
        return _of_values(task, prediction, y)
    if prediction.ndim != 2 or task.kind == "regression":
        return _of_parts(task, prediction, y)
    return _of_classes(task, prediction, y) if task.kind == "classification" else _of_labels(task, prediction, y)


def _of_classes(task: Task, p: Tensor, y: Tensor) -> tuple[dict[str, Any], Tensor]:
    from lab.training.ensemble import negative_log_likelihood
    from lab.training.label_errors import confidently_other

    names = task.class_names or [str(i) for i in range(p.shape[1])]
    loss = negative_log_likelihood(p, y)
    return {
        "given": [names[i] for i in y.tolist()],
        "predicted": [names[i] for i in p.argmax(dim=1).tolist()],
        "p_given": p.gather(1, y[:, None])[:, 0].tolist(),
        "loss": loss.tolist(),
        "suspect": confidently_other(p, y).tolist(),
    }, loss


def _of_labels(task: Task, p: Tensor, y: Tensor) -> tuple[dict[str, Any], Tensor]:
    """By the most doubtful label of each example: among many right ones a mean would hide it."""
    import torch

    from lab.training.label_errors import confidently_other

    names = task.class_names or [str(i) for i in range(p.shape[1])]
    labels = y > 0.5
    p_given = torch.where(labels, p, 1 - p)
    least, worst = p_given.min(dim=1)
    said = [
        confidently_other(torch.stack([1 - p[:, i], p[:, i]], dim=1), labels[:, i].long()) for i in range(len(names))
    ]
    loss = -least.clamp_min(1e-300).log()

    def words(of: Tensor) -> list[str]:
        return ["yes" if one else "no" for one in of.gather(1, worst[:, None])[:, 0].tolist()]

    return {
        "of": [names[i] for i in worst.tolist()],
        "given": words(labels),
        "predicted": words(p > 0.5),
        "p_given": least.tolist(),
        "loss": loss.tolist(),
        "suspect": torch.stack(said, dim=1).gather(1, worst[:, None])[:, 0].tolist(),
    }, loss


def _of_values(task: Task, prediction: Tensor, y: Tensor) -> tuple[dict[str, Any], Tensor]:
    from lab.training.label_errors import FAR, standardised

    flat, targets = prediction.reshape(len(y), -1).double(), y.reshape(len(y), -1).double()
    deviations = standardised(targets - flat)
    worst = deviations.abs().argmax(dim=1, keepdim=True)
    far = deviations.gather(1, worst)[:, 0]
    names = task.class_names if len(task.class_names) == flat.shape[1] else [f"value{i}" for i in range(flat.shape[1])]
    named = {"of": [names[i] for i in worst[:, 0].tolist()]} if flat.shape[1] > 1 else {}
    return {
        **named,
        "given": targets.gather(1, worst)[:, 0].tolist(),
        "predicted": flat.gather(1, worst)[:, 0].tolist(),
        "deviations": far.tolist(),
        "loss": task.loss(prediction, y).tolist(),
        "suspect": (far.abs() > FAR).tolist(),
    }, far.abs()


def _of_parts(task: Task, prediction: Tensor, y: Tensor) -> tuple[dict[str, Any], Tensor]:
    """Where each part of an example has a class of its own: by the mean loss, which suspects nobody by itself."""
    from lab.stages.examples import in_words
    from lab.training.ensemble import negative_log_likelihood

    loss = task.loss(prediction, y) if task.kind == "regression" else negative_log_likelihood(prediction, y)
    each = range(len(y))
    return {
        "given": [in_words(task, prediction[i], y[i]) for i in each],
        "predicted": [in_words(task, prediction[i], None) for i in each],
        "loss": loss.tolist(),
    }, loss
