"""One small model that imitates what a study hands out, and what it is worth beside it.

The student learns the ensemble's predictions (Hinton, Vinyals and Dean 2015, arXiv 1503.02531) of the training rows
and of rows that are made up: what a model says of rows that it has learned is little more than their labels, and what
it has to teach is said of others (Bucila, Caruana and Niculescu-Mizil 2006, Model Compression). Beside it the same net
learns the labels alone, for as many optimizer steps; the validation rows decide between them, and the temperature of
the targets. The test rows are looked at when all is decided.
Shapes: n rows.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.spec.folder_names import DISTILL, side_folder
from lab.spec.plan import TaskRef
from lab.spec.space import Choice, Params
from lab.spec.trial import Trial, derive_seed
from lab.stages import confirm, refit
from lab.stages.job import with_cycles
from lab.study.aside import OTHER_OUTPUTS, Aside, Judged, judged, learned_by_folds
from lab.study.distillation import BATCHES, LABELS, TAUGHT, Distillation, Tried, Worth, card, facts, ms_per_row
from lab.study.progress import Display
from lab.study.same_data import require_same
from lab.study.stop import stop_on_interrupt
from lab.study.study import Study
from lab.tasks.builtin import BUILTIN

if TYPE_CHECKING:
    from torch import Tensor

    from lab.spec.study import StudySpec
    from lab.stages.predictor import Ensemble
    from lab.tasks.task import Data, Task

NAME = DISTILL
TEMPERATURES = (1.0, 2.0, 4.0)
_SEEDS = 2
"""Models of each kind, by whose mean validation loss kinds are compared."""
_ADVICE = "try other --epochs or another --model"


def distill(
    study: Study,
    output: Path,
    *,
    model: str | None = None,
    made_up: int = 4,
    epochs: int | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    quiet: bool = True,
) -> Distillation:
    """Train a student in this process, and write it as `lab export-model` writes an ensemble.

    What is interrupted goes on when it is called again alike.

    Args:
        output: the folder to write; must not be there, or be empty.
        model: the student's net: a value of the task's option `model`, or of a table `layers` such as `64,32`. None:
            one net as the study has them.
        made_up: rows made up of each row that was given.
        epochs: on the given and the made-up rows; None: those of the final models.
        temperatures: of the targets, of which the validation rows choose.

    Raises:
        SpecError: the folder is not empty, or such a net cannot be.
        RecordError: another user has begun the study, or it is not finished.
        StudyError: each part of an example has a class of its own, or no student completed.
    """
    import torch

    from lab.stages.predictor import Ensemble
    from lab.study.model_folder import check_empty, export_model
    from lab.tasks.distilled import TEMPERATURE

    check_empty(output)
    if made_up < 0 or not temperatures or min(temperatures) <= 0:
        raise SpecError("--made-up", f"{made_up} with temperatures {[*temperatures]}; at least 0, and above 0")
    study.require_own()
    spec, record = study.spec, study.record
    confirmed = confirm.STAGE.need(record)
    handed, chosen = (make(spec, record) for make in (Ensemble.handed_out, Ensemble.chosen))
    student = student_task(spec, record, handed.task, model)
    plan = _Plan(
        with_cycles(confirmed.chosen.one_cycle.params, 1), epochs or spec.final.epochs, made_up, tuple(temperatures)
    )
    with record.driver_lock(), Display(quiet) as display, stop_on_interrupt(display):
        work = record.folder / side_folder(NAME, repr((model, plan, spec.seed)))
        width = _SEEDS * len(plan.temperatures)
        softened = {TEMPERATURE: Choice(plan.temperatures)}
        aside = Aside(
            spec, record, work, display, name=NAME, width=width, epochs=plan.epochs, more=softened, advice=_ADVICE
        )
        trainer = _Trainer(spec, student, plan, aside)
        first = trainer.search(chosen)
        ways = [min((one for one in first if one.name == name), key=lambda one: one.loss) for name in (TAUGHT, LABELS)]
        refitted = refit.STAGE.if_any(record) is not None
        models = [trainer.again(way, handed) if refitted else way.best for way in ways]
        best = min(range(2), key=lambda i: ways[i].loss)
        x, y = handed.test_data()
        test = [one.scores(one.predict(x), y) for one in models]
        of_ways = {id(way): scores for way, scores in zip(ways, test, strict=True)}
        tried = tuple(replace(way.tried, test=of_ways.get(id(way))) for way in first)
        result = Distillation(
            folder=output,
            metric=student.metric,
            student=_worth(models[best], test[best], x),
            ensemble=_worth(handed, handed.scores(handed.predict(x), y), x),
            chosen=next(one for one, way in zip(tried, first, strict=True) if way is ways[best]),
            tried=tried,
            rows=trainer.asked,
            threads=torch.get_num_threads(),
            folds=learned_by_folds(spec, handed.task),
        )
        export_model(models[best], study.result.summary, output, x, about=card(result), more={NAME: facts(result)})
        shutil.rmtree(work)
    return result


def student_task(spec: StudySpec, record: Record, teacher: Task, model: str | None) -> Task:
    """The study's task with another net; it must take the same inputs.

    Raises:
        SpecError: there is no such net, or it takes others.
    """
    import torch

    from lab.stages.predictor import task_that_learned

    require_same(teacher, record)
    if model is None:
        return teacher
    if spec.task.instance is not None:
        raise SpecError("--model", "the study's task was made in Python, and has one net")
    name, value = _option_of(spec.task, model)
    options = {**spec.task.options, name: value}
    task = task_that_learned(replace(spec.task, options=options, opened=None, instance=None), record)
    own, others = (one.data("train")[0] for one in (task, teacher))
    if own.dtype != others.dtype or own.shape != others.shape or not torch.equal(own[:3], others[:3]):
        raise SpecError("--model", f"{model!r} takes inputs {[*own.shape[1:]]}, the study's nets {[*others.shape[1:]]}")
    return task


def _option_of(ref: TaskRef, model: str) -> tuple[str, Any]:
    """The task's option that says what net it has, and its value."""
    options = {"model"} if ref.kind not in BUILTIN else {*BUILTIN[ref.kind].options.__dataclass_fields__}
    if "model" in options:
        return "model", model
    if "layers" not in options:
        raise SpecError("--model", f"task {ref.kind} has one kind of net")
    widths = model.split(",")
    if not all(width.strip().isdecimal() for width in widths):
        raise SpecError("--model", f"{model!r} is not widths of hidden layers, such as 64,32")
    return "layers", [int(width) for width in widths]


@dataclass(frozen=True)
class _Plan:
    """What is trained."""

    params: Params
    epochs: int
    made_up: int
    temperatures: tuple[float, ...]


@dataclass(frozen=True)
class _Way:
    """A way to train a student, with the models that were trained on the training rows alone."""

    name: str
    temperature: float | None
    epochs: int
    models: tuple[Judged, ...]

    @property
    def loss(self) -> float:
        return statistics.fmean(one.loss for one in self.models)

    @property
    def best(self) -> Ensemble:
        return min(self.models, key=lambda one: one.loss).model

    @property
    def tried(self) -> Tried:
        return Tried(self.name, self.temperature, self.epochs, self.loss)


class _Trainer:
    """Trains students in this process, in a folder of their own."""

    def __init__(self, spec: StudySpec, student: Task, plan: _Plan, aside: Aside) -> None:
        self._spec, self._student, self._plan, self._aside = spec, student, plan, aside
        self.asked = 0
        """Rows that a teacher was asked about."""

    def search(self, teacher: Ensemble) -> list[_Way]:
        """Every way, on the training rows: taught at each temperature, and the labels alone, for as many steps or for
        as many epochs."""
        plan, student = self._plan, self._student
        train, valid = student.data("train"), student.data("valid")
        taught = [(temperature, plan.epochs) for temperature in self._temperatures]
        alone = [(None, epochs) for epochs in dict.fromkeys((plan.epochs * (1 + plan.made_up), plan.epochs))]
        tried = []
        for name, ways, task in (
            (TAUGHT, taught, self._taught(teacher, train[0], valid, "search")),
            (LABELS, alone, student),
        ):
            trials = [self._trial(way, seed) for way in ways for seed in range(_SEEDS)]
            runs = self._aside.train(name.split()[0], task, trials)
            for way in ways:
                mine = tuple(judged(student, [run]) for trial, run in runs if self._is(trial, way))
                if not mine:
                    raise StudyError(f"{NAME}: no student {name} completed; {_ADVICE}")
                tried.append(_Way(name, way[0], way[1], mine))
        return tried

    @property
    def _temperatures(self) -> tuple[float, ...]:
        """Plain values are not softened."""
        return self._plan.temperatures if self._student.kind != "regression" else (1.0,)

    def again(self, way: _Way, teacher: Ensemble) -> Ensemble:
        """A student trained like another one, on training and validation rows."""
        from lab.tasks.task import TRAIN_AND_VALID, joined

        student = self._student
        rows = joined(map(student.data, TRAIN_AND_VALID))
        alone = way.name == LABELS
        task = student if alone else self._taught(teacher, rows[0], student.data("valid"), "again")
        trial = self._trial((way.temperature, way.epochs), _SEEDS)
        _, run = self._aside.train(f"{way.name.split()[0]}_again", task, [trial], with_valid=alone)[0]
        return run.alone(student, way.best.temperature, way.best.thresholds)

    def _taught(self, teacher: Ensemble, x: Tensor, valid: Data, what: str) -> Task:
        """The student's task on what a teacher says of inputs [n, ...] and of others made of them."""
        import numpy as np
        import torch

        from lab.tasks.distilled import Distilled

        random = np.random.default_rng(derive_seed(self._spec.seed, NAME, what))
        rows = torch.cat([x, *(self._student.made_up(x, random) for _ in range(self._plan.made_up))])
        said = teacher.predict(rows)
        if said.ndim > 2:
            raise StudyError("each part of an example has a class of its own here, which no student is taught yet")
        if self._student.kind == "regression" and said.shape[1:] != valid[1].shape[1:]:
            raise StudyError(f"{NAME}: {OTHER_OUTPUTS}")
        self.asked = len(rows)
        return Distilled(self._student, (rows, said), valid)

    def _trial(self, way: tuple[float | None, int], seed: int) -> Trial:
        from lab.tasks.distilled import TEMPERATURE

        temperature, epochs = way
        softened = {} if temperature is None else {TEMPERATURE: temperature}
        params = {**self._plan.params, **softened}
        return Trial(params, derive_seed(self._spec.seed, NAME, seed), epochs, keep=True)

    def _is(self, trial: Trial, way: tuple[float | None, int]) -> bool:
        from lab.tasks.distilled import TEMPERATURE

        return (trial.params.get(TEMPERATURE), trial.epochs) == way


def _worth(model: Ensemble, test: Mapping[str, float], x: Tensor) -> Worth:
    """Scores, size and speed; `x` are any inputs."""
    predict = model.loaded(x)
    return Worth(test, model.bytes, {rows: ms_per_row(predict, x, rows) for rows in BATCHES})
