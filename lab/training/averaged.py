"""The moving average of a model's weights over its training, which may predict better than the last of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """An exponential moving average of parameters and buffers, one step of the optimizer after the other.

    After the first step it is what that has left, after each later one decay * average + (1 - decay) * weights, as in
    `torch.optim.swa_utils.AveragedModel(multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)`: what batch norm
    has seen is averaged like the weights that made it. Whole numbers, such as its count of batches, are the last ones.

    Args:
        decay: the share of the average that a step leaves; it spans about the last 1 / (1 - decay) steps.
        tensors: of the model, by name.

    >>> average = AveragedWeights(0.75, {"w": torch.zeros(1)})
    >>> for step, value in enumerate([1.0, 5.0]):
    ...     average.update({"w": torch.tensor([value])}, step)
    >>> average.tensors["w"]
    tensor([2.])
    """

    def __init__(self, decay: float, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        self._mean: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take what step `step`, counted from 0, has made of the model."""
        averaged = [name for name, tensor in self.tensors.items() if step and tensor.is_floating_point()]
        for name in self.tensors.keys() - averaged:
            self.tensors[name].copy_(tensors[name])
        if averaged:
            self._mean([self.tensors[n] for n in averaged], [tensors[n] for n in averaged], step)
