"""The task contract: what a user says of the thing to be trained.

Shapes: n examples, c classes. A task is asked for tensors of whole splits; whoever trains it makes the batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from lab.errors import LabError, TaskError
from lab.schedules import Schedule

Split: TypeAlias = Literal["train", "valid", "test"]
Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Data: TypeAlias = tuple[Tensor, Tensor]


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of examples whose largest logit [n, c] is the target [n]; a scalar."""
    return (output.argmax(dim=1) == target).to(torch.float32).mean()


class Task(ABC):
    """Data, model, loss, metrics. The defaults are those of classification: cross entropy and accuracy.

    A subclass gives `model` and `data`; a regression task also `loss`, `metrics`, `metric` and `direction`.
    Constructor arguments are the options a spec may give beside `kind`.
    """

    kind: ClassVar[Literal["classification", "regression"]] = "classification"
    metric: ClassVar[str] = "accuracy"
    """Which of `metrics` is the score that trials are compared by."""
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": accuracy}
    """Name to a function of (output [n, ...], target [n, ...]) giving a scalar, over a whole split."""
    class_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def model(self, params: Mapping[str, Any]) -> nn.Module:
        """A fresh model; `params` are the trial's hyperparameters, of which it uses those it knows."""

    @abstractmethod
    def data(self, split: Split) -> Data:
        """Inputs [n, ...] and targets [n, ...] of a split; the same whenever it is asked."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of each example, [n]; never reduced, so that trials trained together stay apart."""
        return nn.functional.cross_entropy(output, target, reduction="none")

    def prepare(self, raw: np.ndarray[Any, Any]) -> Tensor:
        """Raw inputs [n, ...] as a user's file holds them, made ready for the model as `data` makes them.

        By default they are taken as they are, in the type that the training inputs have.
        """
        return torch.as_tensor(raw).to(self.data("train")[0].dtype)

    def predict(self, output: Tensor) -> Tensor:
        """What members of an ensemble are averaged in: probabilities [n, c], or plain values."""
        return output.softmax(dim=1) if self.kind == "classification" else output


@dataclass(frozen=True)
class Trial:
    """What a trial function is given."""

    params: Mapping[str, Any]
    schedule: Schedule
    epochs: int
    seed: int


@dataclass(frozen=True)
class TrialFunction:
    """A generator that trains anything: it yields one mapping of metrics per epoch, `trial.epochs` times."""

    function: Callable[[Trial], Iterator[Mapping[str, float]]]
    metric: str
    direction: Literal["maximize", "minimize"]

    def __call__(self, trial: Trial) -> Iterator[Mapping[str, float]]:
        return self.function(trial)


def trial_function(
    *, metric: str, direction: Literal["maximize", "minimize"]
) -> Callable[[Callable[[Trial], Iterator[Mapping[str, float]]]], TrialFunction]:
    """Decorator for a generator function that a study can run as its task."""
    if direction not in ("maximize", "minimize"):
        raise TaskError(f"direction {direction!r} is not 'maximize' or 'minimize'")
    return lambda function: TrialFunction(function, metric, direction)


def check_task(task: Task, params: Mapping[str, Any]) -> None:
    """Try a task on a few examples and say in one line what breaks the contract.

    Raises:
        TaskError: NaN in the data, lengths that differ, one class only, a reduced loss, ...
    """
    name = type(task).__name__
    if task.metric not in task.metrics:
        raise TaskError(f"{name}.metric: {task.metric!r} is not one of its metrics {sorted(task.metrics)}")
    if task.direction not in ("maximize", "minimize"):
        raise TaskError(f"{name}.direction: {task.direction!r} is not 'maximize' or 'minimize'")
    for split in ("train", "valid"):
        check_data(task, split)
    x, y = task.data("train")
    few = min(4, len(x))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = _tried(f"{name}.model", lambda: task.model(params))
        if not isinstance(model, nn.Module):
            raise TaskError(f"{name}.model: gave {type(model).__name__}, not a torch.nn.Module")
        if not any(p.requires_grad for p in model.parameters()):
            raise TaskError(f"{name}.model: has no trainable parameters")
        model.eval()
        output = _tried(f"{name}.model: on inputs of shape {tuple(x[:few].shape)}", lambda: model(x[:few]))
        loss = _tried(f"{name}.loss", lambda: task.loss(output, y[:few]))
        if not isinstance(loss, Tensor) or loss.shape != (few,):
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TaskError(
                f"{name}.loss: must give one value per example, shape ({few},); got {got} (reduction='none'?)"
            )
        if task.kind == "classification":
            _check_classes(name, output, y)
        for metric, function in task.metrics.items():
            place = f"{name}.metrics[{metric!r}]"
            value = torch.as_tensor(_tried(place, partial(function, output, y[:few])))
            if value.numel() != 1:
                raise TaskError(f"{place}: must give a scalar; got shape {tuple(value.shape)}")


def _check_classes(name: str, output: Any, target: Tensor) -> None:
    """Refuse what the ensemble of a classification could not average: anything but logits [n, c] and classes [n]."""
    wanted = 'for another kind of output say kind = "regression" and give loss, metrics, metric and direction'
    if target.is_floating_point() or target.ndim != 1:
        got = f"{target.dtype} {tuple(target.shape)}"
        raise TaskError(f"{name}.data: classification needs whole-number targets [n]; got {got}; {wanted}")
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2:
        got = str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
        raise TaskError(f"{name}.model: classification needs logits [n, c], c >= 2; got {got}; {wanted}")


def _tried(place: str, call: Callable[[], Any]) -> Any:
    """What the user's code gives, or one line on what it raised."""
    try:
        return call()
    except LabError:
        raise
    except Exception as error:  # it may raise anything
        raise TaskError(f"{place}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def check_data(task: Task, split: Split) -> None:
    """Refuse data nobody can train on; see `check_task`."""
    place = f"{type(task).__name__}.data({split!r})"
    try:
        x, y = _tried(place, lambda: task.data(split))
    except (TypeError, ValueError) as error:
        raise TaskError(f"{place}: must give (inputs, targets): {error}") from error
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TaskError(f"{place}: must give two tensors; got {type(x).__name__} and {type(y).__name__}")
    if x.ndim == 0 or y.ndim == 0:
        raise TaskError(f"{place}: must give tensors of examples; got a scalar")
    if len(x) != len(y):
        raise TaskError(f"{place}: {len(x)} inputs but {len(y)} targets")
    if len(x) == 0:
        raise TaskError(f"{place}: is empty")
    for what, tensor in (("inputs", x), ("targets", y)):
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).reshape(len(tensor), -1).any(dim=1).sum())
            raise TaskError(f"{place}: NaN or infinity in the {what} ({bad} of {len(tensor)} examples)")
    if task.kind == "classification" and split == "train" and not y.is_floating_point() and (y == y[0]).all():
        raise TaskError(f"{place}: has one class only ({y[0].tolist()}); at least two are needed")
