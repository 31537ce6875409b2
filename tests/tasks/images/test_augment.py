"""Augmentation against closed forms, one example at a time, and its randomness by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lab.errors import SpecError
from lab.tasks.images.augment import augment, views_of
from lab.tasks.images.augmentation import (
    CUT_SIDE,
    CUT_X,
    CUT_Y,
    DOWN,
    FLIP,
    PARTNER,
    RIGHT,
    SHARE,
    SMOOTHING,
    Augmentation,
)

K, B, C, H, W, N = 2, 4, 3, 5, 7, 3


def _x() -> Tensor:
    return torch.randn(K, B, C, H, W, generator=torch.Generator().manual_seed(0))


def _y() -> Tensor:
    return torch.arange(K * B).view(K, B) % N


def _draws(**columns: Any) -> Tensor:
    """Draws that change nothing, but for the columns given."""
    draws = torch.zeros(K, B, 9)
    draws[..., SHARE] = 1.0
    draws[..., PARTNER] = torch.arange(B)
    for name, value in columns.items():
        draws[..., globals()[name]] = torch.as_tensor(value, dtype=torch.float32)
    return draws


def _one_hot(y: Tensor) -> Tensor:
    return torch.eye(N)[y]


def test_draws_of_nothing_change_nothing():
    x, y = augment(_x(), _y(), _draws(), N)
    torch.testing.assert_close(x, _x(), rtol=0, atol=0)
    torch.testing.assert_close(y, _one_hot(_y()), rtol=0, atol=0)


def test_a_flip_mirrors_its_own_example_alone():
    x, _ = augment(_x(), _y(), _draws(FLIP=[[1, 0, 0, 1], [0, 1, 0, 0]]), N)
    expected = _x()
    for k, b in ((0, 0), (0, 3), (1, 1)):
        expected[k, b] = expected[k, b].flip(-1)
    assert torch.equal(x, expected)


@settings(max_examples=40, deadline=None)
@given(down=st.integers(-4, 4), right=st.integers(-6, 6), flip=st.booleans())
def test_a_shift_is_a_crop_of_the_reflected_image(down: int, right: int, flip: bool):
    x, _ = augment(_x(), _y(), _draws(DOWN=down, RIGHT=right, FLIP=float(flip)), N)
    for k in range(K):
        for b in range(B):
            image = _x()[k, b].flip(-1) if flip else _x()[k, b]
            padded = np.pad(image.numpy(), ((0, 0), (4, 4), (6, 6)), mode="reflect")
            across = -right if flip else right  # shifted and then mirrored is mirrored and then shifted back
            crop = padded[:, 4 - down : 4 - down + H, 6 - across : 6 - across + W]
            np.testing.assert_array_equal(x[k, b].numpy(), crop)


def test_shifts_beyond_the_image_reflect_again_and_one_pixel_stays():
    x, _ = augment(_x(), _y(), _draws(DOWN=2 * (H - 1), RIGHT=-2 * (W - 1)), N)
    assert torch.equal(x, _x())
    one = torch.ones(1, 1, 1, 1, 1)
    assert torch.equal(augment(one, torch.zeros(1, 1, dtype=torch.int64), _draws(DOWN=3)[:1, :1], N)[0], one)


@settings(max_examples=40, deadline=None)
@given(side=st.integers(0, 9), row=st.integers(0, H - 1), column=st.integers(0, W - 1))
def test_cutout_sets_a_square_to_the_mean_and_is_cut_at_the_border(side: int, row: int, column: int):
    x, _ = augment(_x(), _y(), _draws(CUT_SIDE=side, CUT_Y=row, CUT_X=column), N)
    expected = _x().numpy()
    top, left = row - side // 2, column - side // 2
    expected[..., max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0.0
    np.testing.assert_array_equal(x.numpy(), expected)


def test_mixup_is_a_weighted_mean_within_a_slot():
    """Zhang et al. 2017, eq. 1, of images and of targets, each with its own partner."""
    partner, share = torch.tensor([[1, 0, 3, 2], [3, 2, 1, 0]]), torch.tensor([[0.25], [0.9]])
    x, y = augment(_x(), _y(), _draws(PARTNER=partner, SHARE=share), N)
    for k in range(K):
        s = float(share[k])
        for b in range(B):
            p = int(partner[k, b])
            torch.testing.assert_close(x[k, b], s * _x()[k, b] + (1 - s) * _x()[k, p])
            torch.testing.assert_close(y[k, b], s * _one_hot(_y())[k, b] + (1 - s) * _one_hot(_y())[k, p])


def test_label_smoothing_spreads_a_share_over_all_classes():
    _, y = augment(_x(), _y(), _draws(SMOOTHING=0.3), N)
    torch.testing.assert_close(y, _one_hot(_y()) * 0.7 + 0.1)
    torch.testing.assert_close(y.sum(dim=-1), torch.ones(K, B))


def test_several_labels_are_smoothed_towards_a_half_each():
    labels = (torch.arange(K * B * N).view(K, B, N) % 2).float()
    _, y = augment(_x(), labels, _draws(SMOOTHING=0.2), N)
    torch.testing.assert_close(y, labels * 0.8 + 0.1)


def test_shares_of_classes_are_varied_as_classes_are():
    draws = _draws(SMOOTHING=0.3, PARTNER=torch.tensor([[1, 0, 3, 2], [3, 2, 1, 0]]), SHARE=0.25)
    torch.testing.assert_close(augment(_x(), _one_hot(_y()), draws, N, True), augment(_x(), _y(), draws, N))


def test_smoothed_cross_entropy_is_that_of_pytorch():
    logits = torch.randn(K * B, N, generator=torch.Generator().manual_seed(1))
    _, y = augment(_x(), _y(), _draws(SMOOTHING=0.2), N)
    ours = torch.nn.functional.cross_entropy(logits, y.flatten(0, 1), reduction="none")
    theirs = torch.nn.functional.cross_entropy(logits, _y().flatten(), label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_a_slot_does_not_depend_on_its_neighbours():
    plan = Augmentation(shift=2, cutout=3, mixup=0.4, label_smoothing=0.1)
    draws = torch.stack([torch.from_numpy(plan.draw(B, (H, W), np.random.default_rng(seed), {})) for seed in (1, 2)])
    together = augment(_x(), _y(), draws, N)
    for k in range(K):
        alone = augment(_x()[k : k + 1], _y()[k : k + 1], draws[k : k + 1], N)
        assert all(torch.equal(a[0], t[k]) for a, t in zip(alone, together, strict=True))


def test_draws_have_their_ranges_and_follow_the_seed():
    plan = Augmentation(flip=True, shift=2, cutout=3, mixup=0.4)
    draws = plan.draw(4000, (H, W), np.random.default_rng(0), {})
    assert np.array_equal(draws, plan.draw(4000, (H, W), np.random.default_rng(0), {}))
    assert draws[:, FLIP].mean() == pytest.approx(0.5, abs=0.05)
    for column, values in ((DOWN, range(-2, 3)), (RIGHT, range(-2, 3)), (CUT_Y, range(H)), (CUT_X, range(W))):
        assert sorted(set(draws[:, column])) == list(values)
    assert set(draws[:, CUT_SIDE]) == {3.0}
    assert len(set(draws[:, SHARE])) == 1
    assert 0 <= draws[0, SHARE] <= 1
    assert sorted(draws[:, PARTNER]) == list(range(4000))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 2])
def test_views_are_what_training_may_see(flip: bool, shift: int):
    x = _x()[0]
    views = views_of(x, flip, shift)
    moves = [(0, 0), (-shift, 0), (shift, 0), (0, -shift), (0, shift)] if shift else [(0, 0)]
    expected = [
        # What is mirrored has been moved before, so the other way.
        augment(x[None], _y()[:1], _draws(FLIP=mirrored, DOWN=down, RIGHT=-right if mirrored else right)[:1], N)[0][0]
        for down, right in moves
        for mirrored in ((0, 1) if flip else (0,))
    ]
    assert len(views) == len(expected)
    for view, image in zip(views, expected, strict=True):
        assert torch.equal(view, image)


def test_a_trials_hyperparameters_win():
    params = {"flip": False, "shift": 1, "cutout": 2, "mixup": 0.0, "label_smoothing": 0.25}
    plan = Augmentation(flip=True, shift=4, cutout=5, mixup=1.0, label_smoothing=0.5)
    draws = plan.draw(500, (H, W), np.random.default_rng(0), params)
    assert not draws[:, FLIP].any()
    assert abs(draws[:, [DOWN, RIGHT]]).max() == 1
    assert set(draws[:, CUT_SIDE]) == {2.0}
    assert set(draws[:, SHARE]) == {1.0}
    assert set(draws[:, SMOOTHING]) == {0.25}


def test_mixups_share_is_of_a_beta_distribution():
    random = np.random.default_rng(0)
    shares = [float(Augmentation(mixup=0.3).draw(1, (H, W), random, {})[0, SHARE]) for _ in range(4000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.3 + 1)), abs=0.01)  # of Beta(a, a)


@pytest.mark.parametrize("params", [{"shift": -1}, {"mixup": -0.1}, {"label_smoothing": 2.0}, {"flip": "no"}])
def test_a_trials_impossible_hyperparameters_are_refused(params: dict[str, Any]):
    with pytest.raises(SpecError, match=f"^task.{next(iter(params))}: "):
        Augmentation().draw(4, (H, W), np.random.default_rng(0), params)
    assert abs(Augmentation().draw(99, (H, W), np.random.default_rng(0), {"shift": 1.9})[:, DOWN]).max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": "no"}, "task.flip: 'no' is not true or false"),
        ({"shift": -1}, "task.shift: -1 is not a whole number of pixels of at least 0"),
        ({"shift": 1.5}, "task.shift: 1.5 is not"),
        ({"cutout": True}, "task.cutout: True is not"),
        ({"mixup": float("inf")}, "task.mixup: inf is not a number from 0 to 100"),
        ({"mixup": float("nan")}, "task.mixup: nan is not"),
        ({"mixup": "a"}, "task.mixup: 'a' is not"),
        ({"label_smoothing": 1}, "task.label_smoothing: 1 is not a share between 0 and 1"),
        ({"label_smoothing": float("nan")}, "task.label_smoothing: nan is not"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=f"^{message}"):
        Augmentation(**options)
