"""Stacked forms of layers: k trials' layers of one kind, computed as one operation.

Shapes: k slots, b examples, f features, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking import dropping, fused
from lab.training.stacking.functions import along, elementwise
from lab.training.stacking.layouts import Layout
from lab.training.stacking.norms import NORMS, need_channels
from lab.training.stacking.operation import Lowered, Operation, Placeholder, Rule
from lab.training.stacking.shapes import reshape

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def linear(operation: Operation) -> Lowered:
    module: Any = operation.module
    weight = operation.stack.tensor(module.weight)  # [k, out, in]
    bias = None if module.bias is None else operation.stack.tensor(module.bias)  # [k, out]
    (value,) = operation.inputs
    if value.rank == 2:
        weight_grad = operation.stack.gradient(module.weight)
        bias_grad = None if module.bias is None else operation.stack.gradient(module.bias)
        if weight_grad is not None and (bias is None) == (bias_grad is None):
            return Lowered(
                lambda x: fused.linear(x, weight, bias, weight_grad, bias_grad),
                (FEATURES,),
                FEATURES,
            )
        if bias is None:
            return Lowered(lambda x: torch.bmm(weight, x), (FEATURES,), FEATURES)
        column = bias.unsqueeze(2)
        return Lowered(lambda x: torch.baddbmm(column, weight, x), (FEATURES,), FEATURES)
    if value.rank < 2:
        raise operation.refuse("on single examples")
    row = None if bias is None else bias.unsqueeze(1)
    transposed = weight.transpose(1, 2)

    def forward(x: Tensor) -> Tensor:  # [k, b, ..., in]
        flat = x.flatten(1, -2)
        out = torch.bmm(flat, transposed) if row is None else torch.baddbmm(row, flat, transposed)
        return out.view(*x.shape[:-1], out.shape[-1])

    return Lowered(forward, (SLOTS,), SLOTS)


def convolution(operation: Operation) -> Lowered:
    module: Any = operation.module
    need_channels(operation)
    if module.padding_mode != "zeros":
        raise operation.refuse(f"with padding_mode {module.padding_mode!r}")
    weight = operation.stack.tensor(module.weight)  # [k, out, in/groups, ...]
    bias = None if module.bias is None else operation.stack.tensor(module.bias)
    groups = module.groups * operation.stack.width
    function = _CONVOLUTIONS[type(module)]
    options: tuple[Any, ...] = (module.stride, module.padding, module.dilation, groups)
    if module.transposed:  # the functional form has its groups before its dilation
        options = (module.stride, module.padding, module.output_padding, groups, module.dilation)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = function(x, weight.flatten(0, 1), None if bias is None else bias.flatten(), *options)
        return out

    return Lowered(forward, (CHANNELS,), CHANNELS)


_CONVOLUTIONS: dict[type[nn.Module], Any] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
}


def embedding(operation: Operation) -> Lowered:
    """One table [k*n, e] of all slots; a slot's codes point into its own part."""
    module: Any = operation.module
    if module.max_norm is not None or module.sparse or module.scale_grad_by_freq:
        raise operation.refuse("with max_norm, sparse or scale_grad_by_freq")
    weight = operation.stack.tensor(module.weight)  # [k, n, e]
    k, n, padding = weight.shape[0], module.num_embeddings, module.padding_idx
    starts = torch.arange(k, device=weight.device) * n
    rank = operation.inputs[0].rank
    offsets = starts.view(k, *[1] * rank)

    def forward(codes: Tensor) -> Tensor:  # [k, b, ...] -> [k, b, ..., e]
        own = codes + offsets
        out = F.embedding(own, weight.flatten(0, 1))
        if padding is None:
            return out
        # A padding row gets no gradient; what it holds is used as it is.
        return torch.where((codes == padding).unsqueeze(-1), out.detach(), out)

    if rank == 1:
        return Lowered(lambda codes: forward(codes).transpose(1, 2), (SLOTS,), FEATURES)
    return Lowered(forward, (SLOTS,), SLOTS)


def pooling(operation: Operation) -> Lowered:
    need_channels(operation)
    module: Any = operation.module
    return Lowered(module, (CHANNELS,), CHANNELS)


def activation(operation: Operation) -> Lowered:
    return elementwise(operation, operation.module)


def prelu(operation: Operation) -> Lowered:
    """One slope, or one per channel, of each slot."""
    module: Any = operation.module
    weight = operation.stack.tensor(module.weight)  # [k, 1 or c]
    (value,) = operation.inputs
    if value.layout is CHANNELS:
        channels = value.shape[1]
        ones = [1] * (value.rank - 2)
        return Lowered(
            lambda x: _prelu(x, weight.expand(-1, channels).reshape(1, -1, *ones)),
            (CHANNELS,),
            CHANNELS,
        )
    if value.layout is FEATURES:
        return Lowered(lambda x: _prelu(x, weight.unsqueeze(2)), (FEATURES,), FEATURES)
    shape = (weight.shape[0], 1, weight.shape[1], *[1] * (value.rank - 2))
    return Lowered(lambda x: _prelu(x, weight.view(shape)), (SLOTS,), SLOTS)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * slope)


def multihead_attention(operation: Operation) -> Lowered:
    """Self or cross attention without masks and dropout; of its two results only the first."""
    module: Any = operation.module
    plain = module.batch_first and module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
    if not plain or module.dropout or set(operation.kwargs) - {"need_weights", "average_attn_weights"}:
        raise operation.refuse("with masks, dropout, or examples that are not first")
    order = [hole.index for hole in operation.args if isinstance(hole, Placeholder)]
    if len(order) != 3 or len(operation.args) != 3 or any(value.rank != 3 for value in operation.inputs):
        raise operation.refuse("of other than queries, keys and values")
    weight, out_weight = operation.stack.tensor(module.in_proj_weight), operation.stack.tensor(module.out_proj.weight)
    has_bias = module.in_proj_bias is not None
    bias = operation.stack.tensor(module.in_proj_bias) if has_bias else None
    out_bias = operation.stack.tensor(module.out_proj.bias) if has_bias else None
    heads, width = module.num_heads, module.embed_dim

    def project(x: Tensor, rows: Tensor, offset: Tensor | None) -> Tensor:  # [k, b, t, in] -> [k, b*t, out]
        flat, turned = x.flatten(1, -2), rows.transpose(1, 2)
        return torch.bmm(flat, turned) if offset is None else torch.baddbmm(offset.unsqueeze(1), flat, turned)

    def forward(*tensors: Tensor) -> dict[int, Tensor]:
        ready = []
        for part, index in enumerate(order):
            x, rows = tensors[index], slice(part * width, (part + 1) * width)
            flat = project(x, weight[:, rows], None if bias is None else bias[:, rows])
            ready.append(flat.view(-1, x.shape[2], heads, width // heads).transpose(1, 2))
        mixed = F.scaled_dot_product_attention(ready[0], ready[1], ready[2]).transpose(1, 2)  # [k*b, t, heads, d]
        query = tensors[order[0]]
        return {0: project(mixed.reshape(query.shape), out_weight, out_bias).view(query.shape)}

    return Lowered(forward, (SLOTS,) * len(operation.inputs), SLOTS)


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    **dict.fromkeys(_CONVOLUTIONS, convolution),
    **NORMS,
    nn.Embedding: embedding,
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), dropping.layer),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), reshape),
    nn.MultiheadAttention: multihead_attention,
    nn.Softmax: lambda operation: along(operation, torch.softmax),
    nn.LogSoftmax: lambda operation: along(operation, torch.log_softmax),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d), pooling),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), pooling),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), pooling),
    **dict.fromkeys((nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d), pooling),
    nn.PReLU: prelu,
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU), activation),
    **dict.fromkeys((nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign), activation),
    **dict.fromkeys((nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh), activation),
    **dict.fromkeys((nn.Hardswish, nn.Hardsigmoid, nn.Identity), activation),
}
"""Exact types: a subclass may have overridden forward."""
