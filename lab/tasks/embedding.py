"""The features that a net makes of its inputs, read where its head takes them.

Shapes: n examples, e features.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lab.errors import TaskError


def before_head(model: nn.Module, x: Tensor) -> Tensor:
    """What the linear layer that is computed last takes of inputs [n, ...]: [n, e].

    Raises:
        TaskError: the model has no such layer, or it takes something else than features of whole examples.
    """
    taken: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        taken[:] = [inputs[0].detach().cpu()]

    hooks = [one.register_forward_pre_hook(keep) for one in model.modules() if isinstance(one, nn.Linear)]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not taken or taken[0].ndim != 2 or len(taken[0]) != len(x):
        raise TaskError("the net has no linear layer on features of whole examples, so nothing stands before its head")
    return taken[0]
