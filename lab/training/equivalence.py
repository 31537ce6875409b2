"""Whether a path trains a task's models as plain PyTorch does: a few steps of both, side by side.

In float64, since in float32 two correct ways of training differ by as much as a wrong one: a bias before batch norm
has a gradient of rounding errors, and Adam divides by its size.

Shapes: k slots, b examples.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lab.tasks.task import Task
from lab.training.loss import slot_losses
from lab.training.models import build_models
from lab.training.slots import SlotModels
from lab.training.stacking.dropping import CALLS
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.parameter_rows import FlatModels

_STEPS = 4
_EXAMPLES = 8
_RATE = 1e-2
_CPU = torch.device("cpu")


def check_path(path: str, task: Task, build: Callable[[int], nn.Module], x: Tensor, y: Tensor) -> None:
    """Train two slots on a path and one after the other, without dropout, and compare everything after each step.

    Args:
        build: a fresh model of the task from a seed.
        x, y: a few training examples [b, ...] as the model and the loss are given them.

    Raises:
        NotStackable: the path is not to be had, or it gives other numbers; the message says where.
        Untrainable: so is no other path.
    """
    rows = torch.arange(_EXAMPLES) % len(x)
    x, y = x[rows].cpu(), y[rows].cpu()
    # A loss or a model with float32 constants of its own cannot be had in float64.
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-3)):
        with contextlib.suppress(_Refused):
            _compare(path, task, partial(_plain, build, dtype), _to(x, dtype), _to(y, dtype), tolerance)
            return
    raise Untrainable("it does not train one after the other either")


class Untrainable(NotStackable):
    """There is nothing to compare with: the model cannot be trained on any path."""


class _Refused(Exception):  # noqa: N818 - as `NotStackable`
    """Plain training cannot be done in this precision."""


def _compare(path: str, task: Task, build: Callable[[int], nn.Module], x: Tensor, y: Tensor, tolerance: float) -> None:
    modules = build(1), build(2)
    before = _numbers(modules[0])
    try:
        with _NoDropout():
            expected = list(_trained(task, _loaded("sequential", build(0), modules, x), x, y))
    except (Exception, SystemExit) as error:  # a user's model may raise anything in another precision, and even exit
        raise _Refused from error
    changed = [name for name, value in _numbers(modules[0]).items() if before.get(name) != value]
    template, modules = build(0), (build(1), build(2))
    drawn = _random_states()
    models = _loaded(path, template, modules, x)
    if isinstance(models, FlatModels):
        models.keep_all()
    steps = _trained(task, models, x, y)
    for step, plain in enumerate(expected):
        try:
            tensors = next(steps)
        except (Exception, SystemExit) as error:  # as above
            first = str(error).partition("\n")[0]
            raise NotStackable(f"it cannot be trained so ({type(error).__name__}: {first})") from error
        for name, tensor in plain.items():
            _same(f"{name} after {step + 1} steps", tensors[name], tensor, tolerance)
    if changed:  # what they were when the forward was looked at would hold for ever
        raise NotStackable(f"its forward changes {', '.join(changed)}")
    if _random_states() != drawn:  # one draw would hold for all slots, or for ever
        raise NotStackable("its forward draws random numbers outside its dropouts")


class _NoDropout(TorchFunctionMode):
    """Dropout as a function gives back what it is given."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in CALLS:
            return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


def _numbers(module: nn.Module) -> dict[str, Any]:
    """Every layer's attributes that are numbers, by name: counters among them."""
    return {
        f"{name}.{key}".lstrip("."): value
        for name, layer in module.named_modules()
        for key, value in vars(layer).items()
        if isinstance(value, int | float) and key != "training"
    }


def _random_states() -> tuple[Any, ...]:
    """Where the process's generators are that a forward may draw from."""
    of_numpy = np.random.get_state(legacy=False)
    return random.getstate(), str(of_numpy), of_numpy["state"]["key"].tobytes(), bytes(torch.get_rng_state().numpy())


def _loaded(path: str, template: nn.Module, modules: Sequence[nn.Module], x: Tensor) -> SlotModels:
    models = build_models(path, template, len(modules), x[:3], _CPU)
    for slot, module in enumerate(modules):
        models.load(slot, module, slot)
    return models


def _trained(task: Task, models: SlotModels, x: Tensor, y: Tensor) -> Iterator[dict[str, Tensor]]:
    """After each step the tensors and the evaluation of both slots, by name."""
    active: Sequence[int] = (0, 1)
    half = len(x) // 2
    for step in range(_STEPS):
        models.training = True
        rows = torch.stack([torch.arange(half) + step % 2, torch.arange(half) * 2])  # each slot its own examples
        loss = slot_losses(task, models.forward(x[rows], active), y[rows])
        models.backward(loss.sum(), active)
        for slot in active:
            grad = models.grad(slot)
            models.row(slot).sub_(grad * (_RATE / grad.abs().max().clamp_min(1.0)))
        models.training = False
        with torch.no_grad():
            output = models.forward(x.expand(2, *x.shape), active)
        seen = {f"output of model {slot}": output[slot] for slot in active}
        for slot in active:
            tensors = models.tensors(slot).items()
            seen |= {
                f"{name} of model {slot}": tensor.detach().clone()
                for name, tensor in tensors
                if not name.endswith("num_batches_tracked")
            }
        yield seen


def _same(what: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    if actual.shape != expected.shape:
        raise NotStackable(f"{what}: shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    scale = expected.double().abs().max().clamp_min(1.0) if expected.numel() else 1.0
    difference = (actual.double() - expected.double()).abs()
    if not torch.equal(actual.isnan(), expected.isnan()) or bool((difference > tolerance * scale).any()):
        raise NotStackable(f"{what}: differs from plain training by {float(difference.max()):.1e}")


def _plain(build: Callable[[int], nn.Module], dtype: torch.dtype, seed: int) -> nn.Module:
    """A model in a precision, without dropout: each path draws its masks in its own way."""
    module = build(seed)
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
    return module.to(dtype)


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
