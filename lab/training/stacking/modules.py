"""Stacked forms of layers: k trials' layers of one kind, computed as one operation.

Shapes: k slots, b examples, f features, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.noise import MaskBuffer
from lab.training.stacking import dropping, fused
from lab.training.stacking.functions import along, elementwise
from lab.training.stacking.layouts import Layout, fits
from lab.training.stacking.shapes import reshape
from lab.training.stacking.site import Built, Hole, Rule, Site

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def linear(site: Site) -> Built:
    module: Any = site.module
    weight = site.stack.tensor(module.weight)  # [k, out, in]
    bias = None if module.bias is None else site.stack.tensor(module.bias)  # [k, out]
    (value,) = site.inputs
    if value.rank == 2:
        weight_grad = site.stack.gradient(module.weight)
        bias_grad = None if module.bias is None else site.stack.gradient(module.bias)
        if weight_grad is not None and (bias is None) == (bias_grad is None):
            return Built(
                lambda x: fused.linear(x, weight, bias, weight_grad, bias_grad),
                (FEATURES,),
                FEATURES,
            )
        if bias is None:
            return Built(lambda x: torch.bmm(weight, x), (FEATURES,), FEATURES)
        column = bias.unsqueeze(2)
        return Built(lambda x: torch.baddbmm(column, weight, x), (FEATURES,), FEATURES)
    if value.rank < 2:
        raise site.refuse("on single examples")
    row = None if bias is None else bias.unsqueeze(1)
    transposed = weight.transpose(1, 2)

    def forward(x: Tensor) -> Tensor:  # [k, b, ..., in]
        flat = x.flatten(1, -2)
        out = torch.bmm(flat, transposed) if row is None else torch.baddbmm(row, flat, transposed)
        return out.view(*x.shape[:-1], out.shape[-1])

    return Built(forward, (SLOTS,), SLOTS)


def convolution(site: Site) -> Built:
    module: Any = site.module
    _need_channels(site)
    if module.padding_mode != "zeros":
        raise site.refuse(f"with padding_mode {module.padding_mode!r}")
    weight = site.stack.tensor(module.weight)  # [k, out, in/groups, ...]
    bias = None if module.bias is None else site.stack.tensor(module.bias)
    groups = module.groups * site.stack.width
    function = _CONVOLUTIONS[type(module)]
    options: tuple[Any, ...] = (module.stride, module.padding, module.dilation, groups)
    if module.transposed:  # the functional form has its groups before its dilation
        options = (module.stride, module.padding, module.output_padding, groups, module.dilation)

    def forward(x: Tensor) -> Tensor:
        out: Tensor = function(x, weight.flatten(0, 1), None if bias is None else bias.flatten(), *options)
        return out

    return Built(forward, (CHANNELS,), CHANNELS)


_CONVOLUTIONS: dict[type[nn.Module], Any] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
}


def batch_norm(site: Site) -> Built:
    module: Any = site.module
    stack = site.stack
    layout = FEATURES if site.inputs[0].rank == 2 else CHANNELS
    if module.track_running_stats and module.momentum is None:
        raise site.refuse("with a cumulative average")
    weight, bias, mean, var = (
        None if plain is None else stack.tensor(plain)  # [k, f]
        for plain in (module.weight, module.bias, module.running_mean, module.running_var)
    )
    # Flat views of statistics stay views of what `load` fills.
    flat_mean, flat_var = (None if t is None else t.view(-1) for t in (mean, var))
    momentum, eps = module.momentum or 0.0, module.eps

    def forward(x: Tensor) -> Tensor:
        flat = x.reshape(1, -1, x.shape[-1]) if layout is FEATURES else x
        out = F.batch_norm(
            flat,
            flat_mean,
            flat_var,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            stack.training or mean is None,
            momentum,
            eps,
        )
        return out.view(x.shape)

    return Built(forward, (layout,), layout)


def norm_relu_dropout(site: Site, dropout_name: str | None) -> Built:
    """Batch norm of features, ReLU, and perhaps dropout, as one."""
    module: Any = site.module
    stack = site.stack
    weight, bias = stack.tensor(module.weight), stack.tensor(module.bias)
    weight_grad, bias_grad = stack.gradient(module.weight), stack.gradient(module.bias)
    mean, var = stack.tensor(module.running_mean), stack.tensor(module.running_var)
    rates = [0.0] if dropout_name is None else stack.dropout_rates(dropout_name)
    buffers: dict[int, MaskBuffer] = {}
    running, eps = (mean, var, module.momentum), module.eps
    assert weight_grad is not None  # `fusible` says so
    assert bias_grad is not None

    def forward(x: Tensor) -> Tensor:
        if not stack.training:
            slope = weight * (var + eps).rsqrt()
            out: Tensor = (x * slope.unsqueeze(2)).add_((bias - mean * slope).unsqueeze(2)).relu_()
            return out
        keep = scale = None
        if any(rates):
            n = x[0].numel()
            if n not in buffers:
                buffers.clear()
                buffers[n] = MaskBuffer(len(x), n, x)
            flat_keep, flat_scale = buffers[n].draw(stack.noise, rates)
            keep, scale = flat_keep.view(x.shape), flat_scale[:, None]
        return fused.norm_relu_dropout(x, weight, bias, weight_grad, bias_grad, running, eps, keep, scale)

    return Built(forward, (FEATURES,), FEATURES)


def fusible(site: Site) -> bool:
    """Whether `norm_relu_dropout` can stand for a batch norm and what follows."""
    module = site.module
    return (
        type(module) is nn.BatchNorm1d
        and site.inputs[0].rank == 2
        and module.affine
        and module.track_running_stats
        and module.momentum is not None
        and None not in (site.stack.gradient(module.weight), site.stack.gradient(module.bias))
    )


def layer_norm(site: Site) -> Built:
    module: Any = site.module
    (value,) = site.inputs
    weight, bias = (None if p is None else site.stack.tensor(p) for p in (module.weight, module.bias))
    ones = value.rank - len(module.normalized_shape)
    shape, eps = module.normalized_shape, module.eps

    def forward(x: Tensor) -> Tensor:  # [k, b, ..., *shape]
        out = F.layer_norm(x, shape, None, None, eps)
        if weight is None:
            return out
        scale = weight.view(weight.shape[0], *[1] * ones, *shape)
        if bias is None:
            return out * scale
        return torch.addcmul(bias.view_as(scale), out, scale)

    return Built(forward, (SLOTS,), SLOTS)


def group_norm(site: Site) -> Built:
    module: Any = site.module
    _need_channels(site)
    weight, bias = (None if p is None else site.stack.tensor(p) for p in (module.weight, module.bias))
    groups, eps = module.num_groups * site.stack.width, module.eps

    def forward(x: Tensor) -> Tensor:
        if weight is None or bias is None:
            return F.group_norm(x, groups, None, None, eps)
        return F.group_norm(x, groups, weight.flatten(), bias.flatten(), eps)

    return Built(forward, (CHANNELS,), CHANNELS)


def embedding(site: Site) -> Built:
    """One table [k*n, e] of all slots; a slot's codes point into its own part."""
    module: Any = site.module
    if module.max_norm is not None or module.sparse or module.scale_grad_by_freq:
        raise site.refuse("with max_norm, sparse or scale_grad_by_freq")
    weight = site.stack.tensor(module.weight)  # [k, n, e]
    k, n, padding = weight.shape[0], module.num_embeddings, module.padding_idx
    starts = torch.arange(k, device=weight.device) * n
    rank = site.inputs[0].rank
    offsets = starts.view(k, *[1] * rank)

    def forward(codes: Tensor) -> Tensor:  # [k, b, ...] -> [k, b, ..., e]
        own = codes + offsets
        out = F.embedding(own, weight.flatten(0, 1))
        if padding is None:
            return out
        # A padding row gets no gradient; what it holds is used as it is.
        return torch.where((codes == padding).unsqueeze(-1), out.detach(), out)

    if rank == 1:
        return Built(lambda codes: forward(codes).transpose(1, 2), (SLOTS,), FEATURES)
    return Built(forward, (SLOTS,), SLOTS)


def pooling(site: Site) -> Built:
    _need_channels(site)
    module: Any = site.module
    return Built(module, (CHANNELS,), CHANNELS)


def activation(site: Site) -> Built:
    return elementwise(site, site.module)


def prelu(site: Site) -> Built:
    """One slope, or one per channel, of each slot."""
    module: Any = site.module
    weight = site.stack.tensor(module.weight)  # [k, 1 or c]
    (value,) = site.inputs
    if value.layout is CHANNELS:
        channels = value.shape[1]
        ones = [1] * (value.rank - 2)
        return Built(
            lambda x: _prelu(x, weight.expand(-1, channels).reshape(1, -1, *ones)),
            (CHANNELS,),
            CHANNELS,
        )
    if value.layout is FEATURES:
        return Built(lambda x: _prelu(x, weight.unsqueeze(2)), (FEATURES,), FEATURES)
    shape = (weight.shape[0], 1, weight.shape[1], *[1] * (value.rank - 2))
    return Built(lambda x: _prelu(x, weight.view(shape)), (SLOTS,), SLOTS)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * slope)


def multihead_attention(site: Site) -> Built:
    """Self or cross attention without masks and dropout; of its two results only the first."""
    module: Any = site.module
    plain = module.batch_first and module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
    if not plain or module.dropout or set(site.kwargs) - {"need_weights", "average_attn_weights"}:
        raise site.refuse("with masks, dropout, or examples that are not first")
    order = [hole.index for hole in site.args if isinstance(hole, Hole)]
    if len(order) != 3 or len(site.args) != 3 or any(value.rank != 3 for value in site.inputs):
        raise site.refuse("of other than queries, keys and values")
    weight, out_weight = site.stack.tensor(module.in_proj_weight), site.stack.tensor(module.out_proj.weight)
    has_bias = module.in_proj_bias is not None
    bias = site.stack.tensor(module.in_proj_bias) if has_bias else None
    out_bias = site.stack.tensor(module.out_proj.bias) if has_bias else None
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

    return Built(forward, (SLOTS,) * len(site.inputs), SLOTS)


def rms_norm(site: Site) -> Built:
    module: Any = site.module
    weight = None if module.weight is None else site.stack.tensor(module.weight)
    shape, eps = module.normalized_shape, module.eps
    ones = site.inputs[0].rank - len(shape)

    def forward(x: Tensor) -> Tensor:
        out = F.rms_norm(x, shape, None, eps)
        return out if weight is None else out * weight.view(weight.shape[0], *[1] * ones, *shape)

    return Built(forward, (SLOTS,), SLOTS)


def _need_channels(site: Site) -> None:
    """A layer for n dimensions takes [b, c, ...] of n more; PyTorch reads one less as a single example."""
    name, rank = site.operation, site.inputs[0].rank
    wanted = int(name[-2]) + 2 if name.endswith("d") and name[-2].isdigit() else rank
    if rank != wanted or not fits(site.inputs[0].shape, CHANNELS):
        raise site.refuse(f"on values of {rank} dimensions, examples included")


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    **dict.fromkeys(_CONVOLUTIONS, convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), batch_norm),
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    nn.Embedding: embedding,
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), dropping.layer),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), reshape),
    nn.RMSNorm: rms_norm,
    nn.MultiheadAttention: multihead_attention,
    nn.Softmax: lambda site: along(site, torch.softmax),
    nn.LogSoftmax: lambda site: along(site, torch.log_softmax),
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
