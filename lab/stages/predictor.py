"""What a finished study hands out, ready to predict: weights read from the study folder, averaged, calibrated."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lab.errors import RecordError, StudyError, TaskError, first_line
from lab.record.estimators import load_estimator
from lab.record.folder import Record
from lab.spec.in_html import rows_html
from lab.spec.plan import TaskRef
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.stages import ensemble, refit
from lab.stages.ensemble import BASELINE, Member
from lab.stages.one_module import OneModule, inputs_for, narrowed, output_of, predicted
from lab.stages.predicts import Predicts
from lab.stages.second_round import second_round_of
from lab.stages.stage import Skipped
from lab.tasks.baselines import prediction_of
from lab.tasks.build import build_model
from lab.tasks.checks import tried
from lab.tasks.load import load_task
from lab.tasks.several import row_of
from lab.tasks.task import Task
from lab.tasks.transfer.adapter import merged
from lab.training.device import pick_device, to_device
from lab.training.ensemble import weighted, with_temperature
from lab.training.evaluation import examples_at_once
from lab.training.memory import out_of_memory
from lab.training.snapshots import load_weights

_MOST_EXAMPLES = 1024


@torch.no_grad()
def member_outputs(task: Task, weights: Path, params: Params, x: Tensor) -> Tensor:
    """What a snapshot predicts for inputs [n, ...]: probabilities [n, c] in float64, or plain values.

    Args:
        weights: its file.
        params: the hyperparameters that its model is built from.
    """
    return model_outputs(task, _net(task, weights, params, x), x)


def _net(task: Task, weights: Path, params: Params, x: Tensor) -> nn.Module:
    """A snapshot's net with its weights; `x` are any inputs [n, ...]."""

    def built() -> nn.Module:
        net = build_model(task, params, 0, task.model_input(narrowed(x[:1])))
        load_weights(net, weights)
        return net

    try:
        return built()
    except RecordError:
        if row_of(task) is not None:
            raise
        with contextlib.suppress(Exception):  # then the weights are what is wrong
            task.data("train")  # by which it is known whether there are several inputs
        if row_of(task) is None:
            raise
    return built()


def net_of(task: Task, folder: Path, member: Member, x: Tensor) -> nn.Module:
    """A member's net with its weights, which lie in the folder; `x` are any inputs [n, ...]."""
    return _net(task, folder / _own_name(folder, member), member.params, x)


@torch.no_grad()
def model_outputs(task: Task, model: nn.Module, x: Tensor) -> Tensor:
    """What a model predicts for inputs [n, ...], on the host; see `member_outputs`. It is computed on the GPU where
    there is one, unless its memory is short."""
    model.eval()
    x = inputs_for(model, x)
    device = pick_device("auto")
    try:
        output = _computed(task, model, x, device)
    except Exception as error:
        if device.type == "cpu" or not out_of_memory(error):
            raise
        output = _computed(task, model, x, torch.device("cpu"))
    return tried(f"{type(task).__name__}.predict", lambda: predicted(task, output))


def _computed(task: Task, model: nn.Module, x: Tensor, device: torch.device) -> Tensor:
    model.to(device)
    size = min(_MOST_EXAMPLES, examples_at_once(x, 1))
    return torch.cat([_call(task, model, to_device(part, device)).cpu() for part in torch.split(x, size)])


def mean_prediction(task: Task, folder: Path, members: Sequence[Member], x: Tensor, temperature: float) -> Tensor:
    """What the weighted mean of members predicts for inputs [n, ...], calibrated by a temperature.

    Args:
        folder: where the members' weights lie.
    """
    for member in members:
        _own_name(folder, member)
    nets = [member for member in members if member.role != BASELINE]
    others = [member for member in members if member.role == BASELINE]
    outputs = [
        with_temperature(member_outputs(task, folder / m.file, m.params, x), m.temperature, task.kind) for m in nets
    ]
    shape = outputs[0].shape[1:]
    for member in others:
        outputs.append(prediction_of(load_estimator(folder / member.file), task, x, shape).to(outputs[0].dtype))
    mean = weighted(torch.stack(outputs), [member.weight for member in (*nets, *others)])
    return with_temperature(mean, temperature, task.kind)


def _own_name(folder: Path, member: Member) -> str:
    """The name of a member's file, which lies in the folder itself: an artefact may come from anybody."""
    if Path(member.file).name != member.file:
        raise RecordError(f"{folder}: {member.file[:80]!r} is no name of a file in it")
    return member.file


def _call(task: Task, model: nn.Module, part: Tensor) -> Tensor:
    x = task.model_input(part)
    try:
        output = output_of(task, model, x)
    except Exception as error:  # a number of a word that training had not, say
        raise TaskError(f"the model does not take inputs of shape {tuple(x.shape)}: {first_line(error)}") from error
    assert isinstance(output, Tensor)  # part of the task contract
    return output


def task_that_learned(ref: TaskRef, record: Record) -> Task:
    """A study's task, not a trial function, with what it has learned from the data and keeps in the study's folder."""
    task = load_task(ref)
    assert isinstance(task, Task)
    task.cache = record.data_folder.resolve()
    kept = record.task()
    if kept is not None and kept["fitted"] is not None:
        task.restore(kept["fitted"])
    return task


def as_plain(thresholds: Tensor | None) -> tuple[float, ...]:
    """Thresholds [c] as an artefact holds them."""
    return () if thresholds is None else tuple(thresholds.tolist())


def _apart(names: Sequence[str], count: int) -> list[str]:
    """Names of columns, those that came before with a number: of a table's column and its category's, say.

    Raises:
        TaskError: there are not so many.
    """
    if len(names) != count:
        raise TaskError(f"embed: gives {len(names)} names for {count} numbers")
    apart: dict[str, None] = {}
    for name in map(str, names):
        further = (f"{name} ({i})" for i in itertools.count(2))
        apart[next(one for one in itertools.chain((name,), further) if one not in apart)] = None
    return [*apart]


class Ensemble(Predicts):
    """Trained models as one: those that a study hands out are trained on training and validation rows where there are
    such, else they are those that were chosen on the validation rows.

    Args:
        task: what they were trained for, with what it has learned from the data.
        folder: where the members' weights lie.
        temperature: what their mean is calibrated by.
        thresholds: from which probability on each label is said; none: from a half on.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        members: Sequence[Member],
        temperature: float,
        thresholds: tuple[float, ...] = (),
    ) -> None:
        super().__init__(task, thresholds)
        self._folder, self._members = folder, tuple(members)
        self._temperature = temperature

    def _outputs(self, x: Tensor) -> Tensor:
        return mean_prediction(self._task, self._folder, self._members, x, self._temperature)

    @classmethod
    def handed_out(cls, spec: StudySpec, record: Record) -> Ensemble:
        """That of a finished study; `RecordError` where it has none."""
        first, second = cls.first_round(spec, record), second_round_of(record)
        if second is None or not second.kept:
            return first
        return cls(first._task, record.second_folder, second.members, second.temperature, second.thresholds)

    @classmethod
    def first_round(cls, spec: StudySpec, record: Record) -> Ensemble:
        """That of its stages, whatever was trained aside afterwards; `RecordError` where it has none."""
        refitted, chosen = refit.STAGE.if_any(record), cls.chosen(spec, record)
        if refitted is None:
            return chosen
        return cls(
            chosen._task, record.refit_folder, refitted.members, refitted.temperature, thresholds=chosen.thresholds
        )

    @classmethod
    def chosen(cls, spec: StudySpec, record: Record) -> Ensemble:
        """The one that was trained on the training rows alone; `RecordError` where there is none."""
        artefact = ensemble.STAGE.complete(record)
        if isinstance(artefact, Skipped):
            raise RecordError(f"{record.folder}: this study has no ensemble: {artefact.skipped}")
        task = task_that_learned(spec.task, record)
        chosen = artefact.chosen
        return cls(task, record.final_folder, chosen.members, chosen.temperature, chosen.thresholds)

    @property
    def folder(self) -> Path:
        """Where the members' weights lie."""
        return self._folder

    @property
    def temperature(self) -> float:
        return self._temperature

    @property
    def members(self) -> tuple[Member, ...]:
        return self._members

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        members = {one.name: f"{one.role}, weight {one.weight:.3g}" for one in self._members}
        return rows_html({"predicts": self.kind, "temperature": f"{self._temperature:.3g}"} | members)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of members that are no nets, and so of no module."""
        return tuple(member.name for member in self._members if member.role == BASELINE)

    @property
    def net_members(self) -> tuple[Member, ...]:
        """The members that are nets, in the order of a module's, with weights that are 1 together.

        Raises:
            StudyError: there are none.
        """
        return tuple(self._nets())

    def _nets(self) -> list[Member]:
        """The members that are nets, with weights that are 1 together.

        Raises:
            StudyError: there are none.
        """
        nets = [member for member in self._members if member.role != BASELINE]
        if not nets:
            raise StudyError(f"what this study hands out has no nets: {', '.join(self.left_out)}")
        total = sum(member.weight for member in nets)
        return [replace(member, weight=member.weight / total) for member in nets]

    def as_module(self, x: Tensor, temperature: float | None = None) -> OneModule:
        """The nets as one module; `x` are any inputs [n, ...].

        Args:
            temperature: what their mean is calibrated by; None: as ever.

        Raises:
            StudyError: there are no nets.
        """
        members = self._nets()
        nets = [merged(_net(self._task, self._folder / _own_name(self._folder, m), m.params, x)) for m in members]
        weights, temperatures = [m.weight for m in members], [m.temperature for m in members]
        calibrated_by = self._temperature if temperature is None else temperature
        module = OneModule(self._task, nets, weights, temperatures, calibrated_by)
        return module.eval()

    def loaded(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The members as one function of inputs [n, ...], with all of them in memory; `x` are any inputs.

        Raises:
            StudyError: there are no nets.
        """
        others = [member for member in self._members if member.role == BASELINE]
        if not others:
            return self.as_module(x)
        module = self.as_module(x, temperature=1.0)
        share = 1.0 - sum(member.weight for member in others) / sum(member.weight for member in self._members)
        estimators = [(m.weight, load_estimator(self._folder / _own_name(self._folder, m))) for m in others]

        def mean(inputs: Tensor) -> Tensor:
            total = share * module(inputs)
            for weight, estimator in estimators:
                total = total + weight * prediction_of(estimator, self._task, inputs, total.shape[1:])
            return with_temperature(total, self._temperature, self.kind)

        return mean

    @property
    def bytes(self) -> int:
        """The size of all members' files."""
        return sum((self._folder / _own_name(self._folder, member)).stat().st_size for member in self._members)

    def predict_by_nets(self, x: Tensor) -> Tensor:
        """What the nets alone predict for inputs [n, ...].

        Raises:
            StudyError: there are no nets.
        """
        prediction = mean_prediction(self._task, self._folder, self._nets(), x, self._temperature)
        return prediction.float() if self.kind != "regression" else prediction

    def embed(self, x: Tensor) -> tuple[Sequence[str], Tensor]:
        """What the net of the greatest weight makes of inputs [n, ...], for other models to learn from: names [e] and
        numbers [n, e]; see `Task.embed`. Those of several nets lie along axes of their own, and have no mean.

        Raises:
            StudyError: there are no nets.
            TaskError: the net has nothing to show, or not as many numbers as names; or there are no inputs.
        """
        if not len(x):
            raise TaskError("there are no inputs to embed")
        member = max(self._nets(), key=lambda one: one.weight)
        net = _net(self._task, self._folder / _own_name(self._folder, member), member.params, x).eval()
        size = min(_MOST_EXAMPLES, examples_at_once(x, 1))
        with torch.no_grad():
            made = [self._task.embed(net, inputs_for(net, part)) for part in torch.split(x, size)]
        numbers = torch.cat([numbers for _, numbers in made])
        return _apart(made[0][0], numbers.shape[1]), numbers
