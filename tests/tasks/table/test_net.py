"""The net for tables: embeddings of the course's size, an average unknown level, outputs that stay within bounds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lab.tasks.table.net import TableNet, embedding_size


@pytest.mark.parametrize(("levels", "size"), [(2, 1), (3, 2), (4, 2), (25, 13), (99, 50), (100, 50), (5000, 50)])
def test_an_embedding_is_half_as_wide_as_its_levels_and_at_most_50(levels: int, size: int):
    assert embedding_size(levels) == min(50, (levels + 1) // 2) == size


def _net(levels: tuple[int, ...] = (4, 7), numbers: int = 3, **more: object) -> TableNet:
    torch.manual_seed(0)
    return TableNet(levels, numbers, 2, (8, 5), 0.2, 0.3, **more).eval()  # type: ignore[arg-type]


def _inputs(n: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    codes = torch.stack([torch.randint(k, (n,), generator=generator) for k in (4, 7)], dim=1)
    return torch.cat([codes.float(), torch.randn(n, 3, generator=generator)], dim=1)


def test_it_is_embeddings_beside_normalised_numbers_and_then_layers():
    net, x = _net(), _inputs()
    assert net.layers[0].in_features == 2 + 4 + 3
    parts = [net.embeddings[0](x[:, 0].long()), net.embeddings[1](x[:, 1].long()), net.norm(x[:, 2:])]  # type: ignore[misc]
    torch.testing.assert_close(net(x), net.layers(torch.cat(parts, dim=1)))
    rates = [module.p for module in net.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.3, 0.2, 0.2]


def test_an_unknown_level_begins_as_an_average_one():
    net = _net()
    for embedding in net.embeddings:
        assert not embedding.weight[0].any()
        assert embedding.weight[1:].abs().max() <= 0.02


@pytest.mark.parametrize(("levels", "numbers"), [((4, 7), 0), ((), 3)])
def test_it_needs_no_categories_or_no_numbers(levels: tuple[int, ...], numbers: int):
    x = _inputs()[:, :2] if levels else _inputs()[:, 2:]
    assert _net(levels, numbers)(x).shape == (6, 2)


def test_bounded_outputs_approach_their_bounds_and_never_leave_them():
    net = _net(bounds=((-1.0, 3.0), (10.0, 11.0)))
    output = net(torch.cat([_inputs()[:, :2], torch.tensor([[-1e4], [1e4]] * 3).expand(6, 3)], dim=1))
    low, high = torch.tensor([-1.0, 10.0]), torch.tensor([3.0, 11.0])
    assert ((output >= low) & (output <= high)).all()
    with torch.no_grad():
        last = net.layers[-1]
        last.weight.zero_()
        last.bias.zero_()
    torch.testing.assert_close(net(_inputs())[0], torch.tensor([1.0, 10.5]))


def test_numbers_that_are_masked_change_nothing_and_leave_the_others_their_weight():
    x = _inputs()
    without = torch.cat([x[:, :4], torch.randn(6, 1, generator=torch.Generator().manual_seed(2))], dim=1)
    net = _net(mask=torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(net(x), net(without), rtol=0, atol=0)
    assert not torch.equal(_net()(x), _net()(without))
    # Eight of nine inputs are left: weights are drawn as widely as for eight.
    torch.testing.assert_close(net.layers[0].weight, _net().layers[0].weight * (9 / 8) ** 0.5)
    torch.testing.assert_close(_net(mask=torch.ones(3))(x), _net()(x), rtol=0, atol=0)
