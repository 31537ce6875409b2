"""What only rearranges: each form, stacked, gives each slot what the plain one gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.shapes import SHAPES
from tests.training.stacking.alike import Calls, check_alike

FLAT, LINE, IMAGE = (5, 6), (4, 4, 8), (4, 4, 6, 6)
FORMS: list[tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = [
    (IMAGE, lambda x: torch.flatten(x, 1)),
    (IMAGE, lambda x: x.flatten(2)),
    (IMAGE, lambda x: x.view(x.size(0), -1)),
    (IMAGE, lambda x: x.reshape(-1, 8, 18)),
    (FLAT, lambda x: x.unflatten(1, (2, 3))),
    (LINE, lambda x: x.permute(0, 2, 1)),
    (LINE, lambda x: torch.permute(x, (0, -1, 1))),
    (LINE, lambda x: x.transpose(1, 2)),
    (LINE, lambda x: torch.transpose(x, -1, -2)),
    (LINE, lambda x: x.unsqueeze(1).squeeze(1)),
    (LINE, lambda x: torch.squeeze(torch.unsqueeze(x, -1), -1)),
    (LINE, lambda x: torch.chunk(x, 2, 1)[1]),
    (LINE, lambda x: x.split(3, 2)[0]),
    (LINE, lambda x: torch.unbind(x, 1)[2]),
    (FLAT, lambda x: x[:, 2:5]),
    (FLAT, lambda x: x[:, 1]),
    (FLAT, lambda x: x[..., 1]),
    (LINE, lambda x: x[:, 0]),
    (LINE, lambda x: x[:, :, None]),
    (FLAT, lambda x: torch.cat([x, x * 2, x], 1)),
    (IMAGE, lambda x: torch.cat([x, x * 2], dim=1)),
    (IMAGE, lambda x: torch.cat([x, x * 2], 2)),
    (LINE, lambda x: torch.cat((x, x * 3), -1)),
]


@pytest.mark.parametrize(("shape", "function"), FORMS)
def test_a_rearrangement_is_that_of_each_slot(shape: tuple[int, ...], function: Callable[[Tensor], Tensor]):
    check_alike(lambda: Calls(function), shape)


@pytest.mark.parametrize("function", [lambda x: x.view(-1, 3), lambda x: x.squeeze(), lambda x: x[[0, 1]]])
def test_what_mixes_examples_takes_no_rule(function: Callable[[Tensor], Tensor]):
    """It runs by vmap, which gives each slot its own, or is refused; never wrongly by a rule."""
    try:
        check_alike(lambda: Calls(function), FLAT)
    except NotStackable as error:
        assert str(error)


def test_the_rules_are_by_function_and_by_method():
    assert {torch.flatten, "view", torch.cat, "permute", torch.unbind, "chunk"} <= set(SHAPES)
