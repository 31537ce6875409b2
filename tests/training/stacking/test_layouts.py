"""From one layout to another and back is where it began, and a plain value fits what its rank allows."""

from __future__ import annotations

import pytest
import torch

from lab.training.stacking.layouts import Layout, NotStackable, converter, fits, input_layout, to_channels

SLOTS, FEATURES, CHANNELS = Layout.SLOTS, Layout.FEATURES, Layout.CHANNELS


@pytest.mark.parametrize(
    ("other", "shape"), [(FEATURES, (3, 5, 4)), (CHANNELS, (3, 5, 4, 2, 2)), (CHANNELS, (3, 5, 4, 7))]
)
def test_there_and_back(other: Layout, shape: tuple[int, ...]):
    x = torch.randn(shape)
    there = converter(SLOTS, other, 3)(x)
    assert torch.equal(converter(other, SLOTS, 3)(there), x)
    assert converter(other, other, 3)(there) is there


def test_channels_of_a_slot_lie_together():
    x = torch.arange(3 * 2 * 4 * 1 * 1).view(3, 2, 4, 1, 1)  # [k, b, c, h, w]
    flat = to_channels(x)
    assert flat.shape == (2, 12, 1, 1)
    assert torch.equal(flat[1, 4:8], x[1, 1])
    assert flat.is_contiguous(memory_format=torch.channels_last)


def test_features_cannot_become_channels():
    with pytest.raises(NotStackable, match="no way from features to channels"):
        converter(FEATURES, CHANNELS, 2)


def test_what_fits():
    assert [fits((5, 4), layout) for layout in (FEATURES, CHANNELS, SLOTS)] == [True, False, True]
    assert [fits((5, 4, 3), layout) for layout in (FEATURES, CHANNELS, SLOTS)] == [False, True, True]
    assert [input_layout(rank) for rank in (1, 2, 3, 4, 5)] == [SLOTS, FEATURES, SLOTS, CHANNELS, SLOTS]
