"""Low-rank adapters in a frozen body: beside some of its layers a product of two small matrices that alone is trained.

Hu et al. 2021, LoRA (arXiv 2106.09685), with the first numbers of its authors' `loralib`: `lora_a` as Kaiming says of a
linear layer, `lora_b` zeros, so that the net begins as it was. The layers are not those of `peft` 0.21: these keep the
scale as a number in a dict of the module, which trials that are computed together could not have apart, they choose
between adapters by name in every forward pass, and they bring the libraries of another trainer with them.

Shapes: b examples, f features, r the rank, i inputs and o outputs of a layer.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.errors import SpecError
from lab.tasks.transfer.adapter_options import ALL, ALPHA, ATTENTION, RANK, AdapterPlan

_SHOWN = 12
_BODY = "body."


class AdaptedLinear(nn.Linear):
    """A linear layer x [..., i] that stays as it is, with lora_a [r, i] and lora_b [o, r] beside it."""

    lora_a: Tensor
    lora_b: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        _begin(self, layer, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale

    def merged(self) -> nn.Linear:
        """A layer with W + alpha / r * B A for its weights W."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        return _with_product(layer, self)


class AdaptedConv2d(nn.Conv2d):
    """A convolution that stays as it is, with another beside it, lora_a [r, i, h, w], that has r channels, which lora_b
    [o, r] mixes."""

    lora_a: Tensor
    lora_b: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__(**conv_settings(layer), device="meta")
        _begin(self, layer, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        own: Any = (self.stride, self.padding, self.dilation)
        low = F.conv2d(x, self.lora_a, None, *own)
        return super().forward(x) + F.conv2d(low, self.lora_b[:, :, None, None]) * self.scale

    def merged(self) -> nn.Conv2d:
        """As that of a linear layer."""
        return _with_product(nn.Conv2d(**conv_settings(self), device="meta"), self)


def conv_settings(layer: nn.Conv2d) -> dict[str, Any]:
    """What a convolution in one group is made by, but its weights."""
    names = "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"
    return {**{name: getattr(layer, name) for name in names}, "bias": layer.bias is not None}


def _begin(own: Any, layer: Any, rank: int, alpha: float) -> None:
    """Take a layer's weights, and put beside them a product that is zero."""
    own.weight, own.bias = layer.weight, layer.bias
    outputs, *inputs = layer.weight.shape
    own.lora_a = nn.Parameter(layer.weight.new_empty(rank, *inputs))
    own.lora_b = nn.Parameter(layer.weight.new_zeros(outputs, rank))
    nn.init.kaiming_uniform_(own.lora_a, a=math.sqrt(5))
    own.register_buffer("scale", layer.weight.new_tensor(alpha / rank))


_L = TypeVar("_L", nn.Linear, nn.Conv2d)


def _with_product(layer: _L, own: Any) -> _L:
    product = (own.scale * (own.lora_b @ own.lora_a.flatten(1))).view_as(own.weight)
    layer.weight = nn.Parameter((own.weight + product).detach())
    if own.bias is not None:
        layer.bias = nn.Parameter(own.bias.detach().clone())
    return layer


_ADAPTED: Mapping[type[nn.Module], Any] = {nn.Linear: AdaptedLinear, nn.Conv2d: AdaptedConv2d}
"""Exact types: a subclass may have overridden forward, or what holds it may read its weights past it."""

_ADAPTERS = (AdaptedLinear, AdaptedConv2d)

Moved: TypeAlias = dict[tuple[str, torch.device, torch.dtype], Tensor]
"""Frozen tensors by name where they were moved to another device: there too is one of each."""


class Adapted(nn.Sequential):
    """A frozen body with adapters in it and a head on it. The body is in evaluation always: its batch norms keep their
    statistics, and it drops nothing.

    All nets that one task makes share the memory of their frozen tensors, on each device.

    Args:
        body: already with adapters.
        held: whether the batch norm before the head keeps its statistics too.
        moved: shared by all nets on this body.
    """

    def __init__(self, body: nn.Module, norm: nn.Module, head: nn.Module, held: bool, moved: Moved) -> None:
        super().__init__(OrderedDict(body=body, norm=norm, head=head))
        self._still = ("body", "norm") if held else ("body",)
        self._moved = moved
        self.train()

    def train(self, mode: bool = True) -> Adapted:
        super().train(mode)
        for name in self._still:
            self.get_submodule(name).eval()
        return self

    def frozen(self) -> dict[str, Tensor]:
        """The body's own parameters and buffers, which are the same in every such net."""
        body = self.get_submodule("body")
        own = {id(part.scale) for part in body.modules() if isinstance(part, _ADAPTERS)}
        held = (*body.named_parameters(), *((n, b) for n, b in body.named_buffers() if id(b) not in own))
        return {_BODY + name: tensor for name, tensor in held if not tensor.requires_grad}

    def _apply(self, fn: Any, recurse: bool = True) -> Adapted:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in self.frozen().items():
            if tensor.device.type != "cpu":
                tensor.data = self._moved.setdefault((name, tensor.device, tensor.dtype), tensor.data)
        return self


def own_tensors(net: nn.Module) -> dict[str, Tensor]:
    """A net's parameters and buffers by name, without those of a frozen body that others have as well."""
    named = dict(net.named_parameters()) | dict(net.named_buffers())
    frozen = net.frozen() if isinstance(net, Adapted) else {}
    return {name: tensor for name, tensor in named.items() if name not in frozen}


@dataclass(frozen=True)
class AdaptedBody:
    """A body that stays as it is, and how nets are made on it."""

    body: nn.Module
    plan: AdapterPlan
    held: bool = False
    """Whether the batch norm before the head keeps its statistics too."""
    moved: Moved = field(default_factory=dict)

    def net(self, norm: nn.Module, head: nn.Module, params: Mapping[str, Any]) -> Adapted:
        """A net with a norm and a head of its own.

        Args:
            params: a trial's hyperparameters, of which `rank` and `alpha` win over the plan's.

        Raises:
            SpecError: no layer is meant, one that cannot be adapted, or the rank is above a layer's size.
        """
        rank, alpha = int(params.get(RANK, self.plan.rank)), float(params.get(ALPHA, self.plan.alpha))
        body = sharing(self.body)
        for name in _targets(body, self.plan.targets):
            layer: Any = body.get_submodule(name)
            most = min(len(layer.weight), layer.weight[0].numel())
            if rank > most:
                raise SpecError(
                    f"space.{RANK}" if RANK in params else "task.adapter.rank",
                    f"{rank} is above {most}, which is the size of the layer {name!r}; take at most that, or name "
                    "other layers as task.adapter.targets",
                )
            body.set_submodule(name, _ADAPTED[type(layer)](layer, rank, alpha))
        return Adapted(body, norm, head, self.held, self.moved)


def merged(net: nn.Module) -> nn.Module:
    """A net without adapters that computes the same: they have become part of its body's weights. One without any is
    given back as it is."""
    if not isinstance(net, Adapted):
        return net
    plain = nn.Sequential(OrderedDict(copy.deepcopy(net).named_children()))
    for name, part in list(plain.named_modules()):
        if isinstance(part, _ADAPTERS):
            plain.set_submodule(name, part.merged())
    return plain.train(net.training)


def sharing(body: nn.Module) -> nn.Module:
    """A copy of a body, in evaluation and not trained, whose tensors lie where the body's do."""
    memo: dict[int, Any] = {}
    for tensor in (*body.parameters(), *body.buffers()):
        shared = tensor.detach()
        memo[id(tensor)] = nn.Parameter(shared, requires_grad=False) if isinstance(tensor, nn.Parameter) else shared
    return copy.deepcopy(body, memo).eval()


def _targets(body: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """The names of the layers that get an adapter."""
    fitting = {name: layer for name, layer in body.named_modules() if name and not _unfit(layer)}
    if isinstance(targets, str):
        targeted = [n for n, layer in fitting.items() if targets == ALL or _is_of_attention(n, layer)]
        if not targeted:
            what = "of attention" if targets == ATTENTION else "that an adapter is for"
            raise SpecError("task.adapter.targets", f"{targets!r}: the body has no layers {what}; {_there(fitting)}")
        return targeted
    chosen: dict[str, None] = {}
    for target in targets:
        matching = [name for name, _ in body.named_modules() if f".{name}".endswith(f".{target}")]
        if not matching:
            raise SpecError("task.adapter.targets", f"{target!r} names no layer of the body; {_there(fitting)}")
        for name in matching:
            if why := _unfit(body.get_submodule(name)):
                raise SpecError("task.adapter.targets", f"{target!r} is {name!r}, {why}; {_there(fitting)}")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def _unfit(layer: nn.Module) -> str:
    """Why a layer gets no adapter; nothing where it can get one."""
    if type(layer) not in _ADAPTED:
        return f"a {type(layer).__name__}, which no adapter is for"
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return f"a convolution in {layer.groups} groups, which no adapter is for"
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"a convolution with padding_mode {layer.padding_mode!r}, which no adapter is for"
    return ""


def _is_of_attention(name: str, layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and any(
        "attention" in part or "attn" in part for part in name.lower().split(".")
    )


def _there(fitting: Mapping[str, nn.Module]) -> str:
    """What may be named, by the last part of each name."""
    ends = list(dict.fromkeys(_ending(name) for name in fitting))
    more = ", ..." if len(ends) > _SHOWN else ""
    return f"there are {', '.join(ends[:_SHOWN])}{more}" if ends else "there are none"


def _ending(name: str) -> str:
    """The end of a name, from where on it has no number: `query` of `layers.0.attention.query`."""
    parts = name.split(".")
    kept = 1
    while kept < len(parts) and parts[-kept].isdigit():
        kept += 1
    return ".".join(parts[-kept:])
