"""Adapters and heads of all slots on one frozen body, which sees the batches of all slots as one.

There is one copy of the body's weights, whatever the width, and no rule is needed for what it does: it may be any
module that deals with each example by itself, which a body in evaluation does.

Shapes: k slots, b examples, f features, i inputs and o outputs of a layer, r the rank.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tasks.transfer.adapter import Adapted, AdaptedConv2d, AdaptedLinear, conv_settings, sharing
from lab.training.stacking.layouts import NotStackable, from_channels, to_channels
from lab.training.stacking.model import StackedModels
from lab.training.stacking.parameter_rows import OTHER_ARCHITECTURE
from lab.training.stacking.structure import fingerprint, shapes


def stacked_part(net: Adapted) -> nn.Module:
    """What stands on the body, and differs from slot to slot like any model."""
    return nn.Sequential(OrderedDict((name, part) for name, part in net.named_children() if name != "body"))


class FoldedModels(StackedModels):
    """Slots whose nets are adapters in one frozen body, with heads on it.

    Raises:
        NotStackable: a part of the heads has no stacked form, or the body does not keep the batch's examples in order.
    """

    def __init__(self, template: Adapted, width: int, example: Tensor, device: torch.device) -> None:
        super().__init__(template, width, example, device)

    def _trace(self, template: nn.Module, example: Tensor) -> None:
        assert isinstance(template, Adapted)  # see the constructor
        self._shapes = shapes(template)
        self._body = _stacked(template.get_submodule("body"), self.tensor)
        few = example[torch.arange(3) % len(example)]
        try:
            with torch.no_grad():
                features = self._of_body(few.expand(self.width, *few.shape).to(self._rows[0].device))[0]
        except Exception as error:  # a library's net may raise anything
            first = str(error).partition("\n")[0]
            raise NotStackable(
                f"its body cannot be run for all slots at once ({type(error).__name__}: {first})"
            ) from error
        part = stacked_part(template)
        self._fingerprint = fingerprint(part)
        super()._trace(part, features)

    def _of_body(self, x: Tensor) -> Tensor:
        """Features [k, b, f]."""
        features: Tensor = self._body(x.flatten(0, 1))
        return features.view(*x.shape[:2], *features.shape[1:])

    def _rates_of(self, module: nn.Module) -> dict[str, float]:
        if not isinstance(module, Adapted) or shapes(module) != self._shapes:
            raise NotStackable(OTHER_ARCHITECTURE)
        return super()._rates_of(stacked_part(module))

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        return super().forward(self._of_body(x), active)


def _stacked(body: nn.Module, tensor: Callable[[Tensor], Tensor]) -> nn.Module:
    """A body whose adapters are those of all slots, and whose weights lie where the given one's do.

    Args:
        tensor: the stacked form [k, ...] of one of its own parameters or buffers.
    """
    made = sharing(body)
    for part in made.modules():
        if hasattr(part, "cuts"):  # what a slot's batch is filled up to would hang on the others'
            part.cuts = False  # type: ignore[assignment]
    for name, layer in body.named_modules():
        if isinstance(layer, AdaptedLinear):
            made.set_submodule(name, _StackedLinear(layer, tensor))
        elif isinstance(layer, AdaptedConv2d):
            made.set_submodule(name, _StackedConv2d(layer, tensor))
    return made


class _StackedLinear(nn.Linear):
    """Inputs [k*b, ..., i] or, of nets that put tokens one behind the other, [k*b*t, i]."""

    def __init__(self, layer: AdaptedLinear, tensor: Callable[[Tensor], Tensor]) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self._a, self._b, self._scale = map(
            tensor, (layer.lora_a, layer.lora_b, layer.scale)
        )  # [k, r, i], [k, o, r], [k]

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        own = x.reshape(len(self._scale), -1, x.shape[-1])
        low = torch.bmm(torch.bmm(own, self._a.transpose(1, 2)), self._b.transpose(1, 2))
        return out + (low * self._scale[:, None, None]).view(out.shape)


class _StackedConv2d(nn.Conv2d):
    """Inputs [k*b, i, h, w]."""

    def __init__(self, layer: AdaptedConv2d, tensor: Callable[[Tensor], Tensor]) -> None:
        super().__init__(**conv_settings(layer), device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self._a, self._b, self._scale = map(
            tensor, (layer.lora_a, layer.lora_b, layer.scale)
        )  # [k, r, i, h, w], [k, o, r], [k]

    def forward(self, x: Tensor) -> Tensor:
        out, k = super().forward(x), len(self._scale)
        beside = to_channels(x.view(k, -1, *x.shape[1:]))
        own: Any = (self.stride, self.padding, self.dilation, k)
        low = F.conv2d(beside, self._a.flatten(0, 1), None, *own)
        high = F.conv2d(low, self._b.flatten(0, 1)[:, :, None, None], groups=k)
        return out + (from_channels(high, k) * self._scale[:, None, None, None, None]).flatten(0, 1)
