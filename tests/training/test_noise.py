"""Noise belongs to its slot: statistics, exactness, and the way through a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lab.training.noise import MaskBuffer, SlotNoise, dropout_mask


def test_the_stream_goes_on_where_a_checkpoint_through_json_left_it():
    noise, other = SlotNoise(3), SlotNoise(99)
    noise.permutation(7)  # leaves half a word buffered in the generator
    dropout_mask([noise], [0.5], 13, torch.zeros(()))
    other.set_state(json.loads(json.dumps(noise.state())))
    for _ in range(3):
        assert torch.equal(noise.permutation(101), other.permutation(101))
        ours, theirs = (dropout_mask([n], [0.3], 101, torch.zeros(())) for n in (noise, other))
        assert torch.equal(ours, theirs)


def test_a_permutation_is_one():
    assert torch.equal(SlotNoise(0).permutation(1000).sort().values, torch.arange(1000))
    assert not torch.equal(SlotNoise(0).permutation(1000), SlotNoise(1).permutation(1000))


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.25, 0.5, 0.6, 0.9, 0.99999])
def test_the_keep_probability_is_exact_to_one_in_65536(rate: float):
    """All 65,536 words are counted, so no statistics are needed."""
    noise = SlotNoise(0)
    words = np.arange(65536, dtype=np.uint16).view(np.uint64)
    noise._bits = type("Bits", (), {"random_raw": staticmethod(lambda n: words[:n])})()  # type: ignore[assignment]
    kept, _ = MaskBuffer(1, 65536, torch.zeros((), dtype=torch.float64)).draw([noise], [rate])
    assert abs(kept.mean().item() - (1 - rate)) <= 1 / 65536
    mask = dropout_mask([noise], [rate], 65536, torch.zeros((), dtype=torch.float64))
    assert mask.mean().item() == pytest.approx(1, rel=1e-12), "the scale is that of the probability applied"


def test_masks_have_the_rate_of_their_slot():
    streams = [SlotNoise(s) for s in range(4)]
    rates = [0.0, 0.1, 0.5, 0.9]
    mask = dropout_mask(streams, rates, 200_000, torch.zeros(()))
    assert torch.equal(mask[0], torch.ones(200_000))
    for row, rate in zip(mask[1:], rates[1:], strict=True):
        kept = (row != 0).float().mean().item()
        assert kept == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate) / 200_000) ** 0.5)
        assert len(row.unique()) == 2
    kept_pairs = ((mask[2] != 0) & (mask[2].roll(1) != 0)).float().mean().item()
    assert kept_pairs == pytest.approx(0.25, abs=0.01), "neighbouring elements are independent"


def test_a_rate_of_one_drops_everything():
    assert torch.equal(dropout_mask([SlotNoise(0)], [1.0], 70_000, torch.zeros(())), torch.zeros(1, 70_000))


def test_a_slots_mask_does_not_depend_on_its_neighbours():
    alone = dropout_mask([SlotNoise(5)], [0.3], 1001, torch.zeros(()))
    among = dropout_mask([SlotNoise(1), SlotNoise(5), None], [0.9, 0.3, 0.2], 1001, torch.zeros(()))
    assert torch.equal(alone[0], among[1])
    assert torch.equal(among[2], torch.ones(1001)), "an empty slot"


def test_a_slot_without_dropout_does_not_use_its_stream_up():
    noise = SlotNoise(0)
    before = noise.state()
    dropout_mask([noise], [0.0], 100, torch.zeros(()))
    assert noise.state() == before
