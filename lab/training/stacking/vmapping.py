"""Stacked forms by `torch.vmap`: of one operation without a rule, and of a whole model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lab.training.noise import dropout_mask
from lab.training.stacking.layouts import Layout, NotStackable
from lab.training.stacking.operation import Lowered, Operation, fill
from lab.training.stacking.parameter_rows import FlatModels
from lab.training.stacking.structure import is_dropout


def vmapped(operation: Operation, function: Callable[..., Any] | None) -> Lowered:
    """One layer or function, of one slot at a time as far as it can tell.

    Args:
        function: None for a layer.
    """
    stack, module, count = operation.stack, operation.module, len(operation.inputs)
    if module is None:
        assert function is not None  # an operation is one or the other
        plain, names, own = function, [], []
    else:
        if any(is_dropout(layer) for layer in module.modules()):
            raise operation.refuse("holds a dropout")
        tensors = [*module.named_parameters(), *module.named_buffers()]
        names, own = [name for name, _ in tensors], [stack.tensor(tensor) for _, tensor in tensors]

    def forward(*values: Any) -> Any:
        inputs, sizes = values[:count], values[count:]
        kept: list[int] = []

        def one(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Any:
            args, kwargs = fill((operation.args, dict(operation.kwargs)), [*values, *sizes])
            if module is None:
                result = plain(*args, **kwargs)
            else:
                module.train(stack.training)
                result = functional_call(module, dict(zip(names, weights, strict=True)), args, kwargs)
            if isinstance(result, Tensor):
                return result
            kept[:] = [i for i, part in enumerate(result) if isinstance(part, Tensor)]
            return tuple(result[i] for i in kept)

        outputs = torch.vmap(one, randomness="error")(list(inputs), own)
        return outputs if isinstance(outputs, Tensor) else dict(zip(kept, outputs, strict=True))

    return Lowered(forward, (Layout.SLOTS,) * count, Layout.SLOTS)


class _HasMode(Protocol):
    training: bool


def try_both_modes(stack: _HasMode, run: Callable[[], Any]) -> None:
    """Run it once in evaluation and in training: vmap refuses some operations only then.

    Training comes last, since what it does to buffers is undone when a slot is loaded.

    Raises:
        NotStackable: it cannot be run, or only one slot after the other.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*performance drop.*")
            for stack.training in (False, True):
                run()
    except Exception as error:  # vmap refuses in many ways, and a user's forward may raise anything
        first = str(error).partition("\n")[0]
        raise NotStackable(f"it cannot be run for all slots at once ({type(error).__name__}: {first})") from error


class _Masked(nn.Module):
    """Stands for a dropout layer: multiplies by what it has been handed, once for each time it is called."""

    def __init__(self, name: str, whole_channels: bool) -> None:
        super().__init__()
        self.name, self.whole_channels = name, whole_channels
        self.shapes: list[tuple[int, ...]] = []
        self.masks: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.masks is None:
            self.shapes.append((*x.shape[:2], *[1] * (x.ndim - 2)) if self.whole_channels else tuple(x.shape))
            return x
        return x * self.masks.pop(0)


class VmapModels(FlatModels):
    """The whole model under `torch.vmap`: for a forward that cannot be traced, as long as data do not steer it.

    Raises:
        NotStackable: some part cannot be run for all slots at once; the message says which and why.
    """

    def __init__(self, template: nn.Module, width: int, example: Tensor, device: torch.device) -> None:
        super().__init__(template, width, device)
        self._template = copy.deepcopy(template)
        self._dropouts: list[_Masked] = []
        for name, layer in list(self._template.named_modules()):
            if is_dropout(layer):
                if not name:
                    raise NotStackable("a dropout and nothing else")
                masked = _Masked(name, type(layer) is not nn.Dropout)
                parent, _, last = name.rpartition(".")
                setattr(self._template.get_submodule(parent), last, masked)
                self._dropouts.append(masked)
                self._rates[name] = [0.0] * width
        self._tensors: dict[str, Tensor] = {**self._named, **self._buffers}
        self._mask_shapes: dict[tuple[tuple[int, ...], bool], list[list[tuple[int, ...]]]] = {}
        few = example[torch.arange(4) % len(example)]
        try_both_modes(self, lambda: self.forward(few.expand(width, *few.shape), range(width)))

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        self._template.train(self.training)
        masks = self._masks(x)

        def one(example: Tensor, tensors: dict[str, Tensor], own: list[list[Tensor]]) -> Tensor:
            for layer, mine in zip(self._dropouts, own, strict=True):
                layer.masks = list(mine)
            out: Tensor = functional_call(self._template, tensors, (example,))
            return out

        outputs: Tensor = torch.vmap(one, randomness="error")(x, self._tensors, masks)
        return outputs

    def _masks(self, x: Tensor) -> list[list[Tensor]]:
        """The mask [k, ...] of every call of every dropout layer; ones where nothing is dropped."""
        if not self._dropouts:
            return []
        shapes = self._shapes(x)
        masks = []
        for layer, calls in zip(self._dropouts, shapes, strict=True):
            rates = self._rates[layer.name]
            own = []
            for shape in calls:
                if self.training and any(rates):
                    mask = dropout_mask(self.noise, rates, torch.Size(shape).numel(), self._like(x))
                    own.append(mask.view(self.width, *shape))
                else:
                    own.append(torch.ones((), dtype=self._like(x).dtype, device=x.device).expand(self.width))
            masks.append(own)
        return masks

    def _shapes(self, x: Tensor) -> list[list[tuple[int, ...]]]:
        """What each dropout layer is given for inputs of this shape: found by running the first slot's model."""
        key = (tuple(x.shape[1:]), self.training)
        if key not in self._mask_shapes:
            for layer in self._dropouts:
                layer.shapes, layer.masks = [], None
            first = {name: tensor[0].detach().clone() for name, tensor in self._tensors.items()}
            with torch.no_grad():
                functional_call(self._template, first, (x[0],))
            self._mask_shapes[key] = [list(layer.shapes) for layer in self._dropouts]
        return self._mask_shapes[key]

    def _like(self, x: Tensor) -> Tensor:
        return self._rows[0] if self._rows else x
