"""Nets of tokens: what fills up a text changes nothing, and many are trained as one, as each would be alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lab.tasks.text.nets import Bag, Convolutions, Transformer, mean_of_tokens
from lab.training.models import build_models
from tests.training.stacking.alike import check_alike

_NETS: dict[str, Callable[[float], nn.Module]] = {
    "bag": lambda dropout: Bag(30, 3, 8, 0, dropout),
    "bag with a hidden layer": lambda dropout: Bag(30, 3, 8, 5, dropout),
    "cnn": lambda dropout: Convolutions(30, 3, 8, 4, dropout),
    "transformer": lambda dropout: Transformer(30, 9, 3, 8, 2, 2, 0, dropout),
}


def _codes() -> Tensor:
    codes = torch.randint(1, 30, (6, 9), generator=torch.Generator().manual_seed(0))
    codes[0, 4:], codes[1] = 0, 0
    return codes


@pytest.mark.parametrize("name", _NETS)
def test_each_text_has_logits_whatever_fills_it_up(name: str):
    torch.manual_seed(0)
    net, codes = _NETS[name](0.0).eval(), _codes()
    out = net(codes)
    assert out.shape == (6, 3)
    assert out.isfinite().all()
    embedding = net.embedded.embedding.weight  # type: ignore[union-attr]
    assert embedding[0].abs().max() == 0
    if name != "cnn":  # whose filters see zeros behind the end
        with torch.no_grad():
            embedding[0] = 7.0
        torch.testing.assert_close(net(codes), out)


def test_a_bag_knows_no_order_and_a_transformer_does():
    torch.manual_seed(0)
    codes = _codes()[2:]
    turned = codes.flip(1)
    bag, transformer = (_NETS[name](0.0).eval() for name in ("bag", "transformer"))
    torch.testing.assert_close(bag(codes), bag(turned))
    assert not torch.allclose(transformer(codes), transformer(turned))


def test_the_mean_is_over_tokens_alone():
    x, there = torch.tensor([[[2.0], [4.0], [9.0]], [[5.0], [5.0], [5.0]]]), torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    assert mean_of_tokens(x, there).tolist() == [[3.0], [0.0]]


@pytest.mark.parametrize("name", _NETS)
def test_many_are_trained_as_one(name: str):
    check_alike(lambda: _NETS[name](0.0), (6, 9), codes=30)


@pytest.mark.parametrize("name", _NETS)
def test_many_are_trained_as_one_by_vmap(name: str):
    torch.manual_seed(0)
    codes, net = _codes(), _NETS[name](0.0)
    models = build_models("vmap", net, 2, codes, torch.device("cpu"))
    for slot in range(2):
        models.load(slot, net, slot)
    out = models.forward(torch.stack([codes, codes.flip(0)]), range(2))
    torch.testing.assert_close(out, torch.stack([net(codes), net(codes.flip(0))]), rtol=1e-4, atol=1e-5)
