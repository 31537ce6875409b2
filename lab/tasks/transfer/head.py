"""A new head for a body, and the parameters of both by depth.

Shapes: b examples, f features, n classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain, groupby, pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def head(features: int, classes: int, dropout: float, hidden: int) -> nn.Sequential:
    """From a body's features [b, f], brought to one scale, to logits [b, n]: dropout and a linear layer, and with
    `hidden` units another before it, as in fastai 2.8 `create_head`."""
    layers: dict[str, nn.Module] = {}
    if hidden:
        first = {"dropout0": nn.Dropout(dropout), "linear0": nn.Linear(features, hidden)}
        layers |= first | {"relu": nn.ReLU(), "norm0": nn.BatchNorm1d(hidden)}
    layers |= {"dropout": nn.Dropout(dropout), "linear": nn.Linear(hidden or features, classes)}
    return nn.Sequential(OrderedDict(layers))


def with_head(body: nn.Module, features: int, head: nn.Module, held: bool = False) -> nn.Sequential:
    """A body, which makes features [b, f], with a head on it; batch norm brings its features to one scale.

    Args:
        held: whether batch norms, but those of the head, keep their statistics while they are trained.
    """
    parts = OrderedDict(body=body, norm=nn.BatchNorm1d(features), head=head)
    return Held(parts) if held else nn.Sequential(parts)


class Held(nn.Sequential):
    """A body with a head, whose batch norms before the head are in evaluation always: their weights are trained, and
    their statistics stay those by which the head has learned."""

    def train(self, mode: bool = True) -> Held:
        super().train(mode)
        for name, part in self.named_modules():
            if isinstance(part, _BatchNorm) and not name.startswith("head."):
                part.eval()
        return self


def groups_of(model: nn.Module, count: int) -> list[Sequence[str]]:
    """The trained parameters of a body with a head: the body's in at most `count` - 1 groups, by depth, then the rest.

    What is trained beside a frozen layer is in the group in which the layer were."""
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    parts = layers_of([name for name, _ in model.named_parameters() if name.startswith("body.")], count - 1)
    own = set(trained)
    of_body = [[name for name in part if name in own] for part in parts]
    return [*filter(None, of_body), [name for name in trained if not name.startswith("body.")]]


def layers_of(names: Sequence[str], count: int) -> list[Sequence[str]]:
    """Parameters of a body, in their order, in so many parts of about as many layers each: a layer's stay together.

    >>> layers_of(["a.weight", "a.bias", "b.weight", "c.weight"], 2)
    [['a.weight', 'a.bias'], ['b.weight', 'c.weight']]
    """
    layers = [list(of_layer) for _, of_layer in groupby(names, key=lambda name: name.rpartition(".")[0])]
    count = min(count, len(layers))
    cuts = [round(i * len(layers) / count) for i in range(count + 1)]
    return [list(chain.from_iterable(layers[begin:end])) for begin, end in pairwise(cuts)]
