"""1cycle in its three forms, and the slanted triangle, against their equations and torch's."""

from __future__ import annotations

from math import cos, floor, pi

import numpy as np
import pytest

from lab.errors import SpecError
from lab.schedules import OneCycle, SlantedTriangular, parse_schedule

from .torch_runs import torch_one_cycle


def test_fastai_constants_are_the_defaults() -> None:
    schedule = OneCycle(max_lr=0.1)
    assert schedule == OneCycle.preset("fastai", max_lr=0.1)
    curves = schedule.curves(None, 101)
    assert curves.lr[[0, 25, 100]].tolist() == [0.1 / 25, 0.1, 0.1 / 1e5]
    assert curves.momentum[[0, 25, 100]].tolist() == [0.95, 0.85, 0.95]


def test_cosine_closed_form() -> None:
    curves = OneCycle(max_lr=1, pct_start=0.25).curves(None, 101)
    for step in range(101):
        s, e, p = (1 / 25, 1.0, step / 25) if step < 25 else (1.0, 1e-5, (step - 25) / 75)
        assert curves.lr[step] == pytest.approx(s + (1 + cos(pi * (1 - p))) * (e - s) / 2, rel=1e-12)


@pytest.mark.parametrize(("total", "pct"), [(100, 0.3), (50, 0.5), (1000, 0.25), (20, 0.2)])
@pytest.mark.parametrize("anneal", ["cosine", "linear"])
def test_golden_against_torch_OneCycleLR(total: int, pct: float, anneal: str) -> None:
    # torch's peak is the step pct * total - 1, ours round(pct_start * (total - 1)): the same one here.
    mine = OneCycle.preset("torch", max_lr=0.3, pct_start=(pct * total - 1) / (total - 1), anneal=anneal)
    lr, momentum = torch_one_cycle(
        total, max_lr=0.3, pct_start=pct, anneal_strategy=anneal[:6].replace("cosine", "cos")
    )
    curves = mine.curves(None, total)
    np.testing.assert_allclose(curves.lr, lr[:total], rtol=1e-9)
    np.testing.assert_allclose(curves.momentum, momentum[:total], rtol=1e-12)


def test_golden_three_phases_against_torch_OneCycleLR() -> None:
    total, pct = 100, 0.4
    mine = OneCycle.preset("torch", max_lr=0.3, pct_start=(pct * total - 1) / (total - 1), three_phase=True)
    lr, momentum = torch_one_cycle(total, max_lr=0.3, pct_start=pct, three_phase=True)
    curves = mine.curves(None, total)
    np.testing.assert_allclose(curves.lr, lr[:total], rtol=1e-9)
    np.testing.assert_allclose(curves.momentum, momentum[:total], rtol=1e-12)


def test_smith_annihilates_with_momentum_at_its_maximum() -> None:
    curves = OneCycle.preset("smith", max_lr=1.0).curves(None, 101)
    assert curves.lr[[0, 45, 90, 100]].tolist() == [0.1, 1.0, 0.1, 0.001]
    np.testing.assert_allclose(np.diff(curves.lr[:46]), 0.9 / 45, rtol=1e-9)
    np.testing.assert_allclose(np.diff(curves.lr[45:91]), -0.9 / 45, rtol=1e-9)
    np.testing.assert_allclose(np.diff(curves.lr[90:]), -0.099 / 10, rtol=1e-9)
    assert (curves.momentum[90:] == 0.95).all()
    assert curves.momentum[45] == 0.85


@pytest.mark.parametrize("total", range(3, 40))
def test_three_phases_reach_the_peak_and_the_end_at_every_length(total: int) -> None:
    lr = OneCycle.preset("smith", max_lr=1.0).curves(None, total).lr
    assert lr.max() == 1.0
    assert lr[-1] == 0.001


def test_three_phases_need_three_steps() -> None:
    with pytest.raises(
        SpecError, match=r"^schedule\.total: 2 steps are too few for the 3 phases of one_cycle; at least 3"
    ):
        OneCycle.preset("smith", max_lr=1.0).curves(None, 2)


def test_a_preset_in_a_spec_stands_for_its_fields() -> None:
    schedule = parse_schedule({"kind": "one_cycle", "preset": "torch", "max_lr": 1, "div": 10})
    assert schedule == OneCycle(max_lr=1, pct_start=0.3, final_div=2.5e5, div=10)
    with pytest.raises(SpecError, match=r"^schedule\.preset: 'smit' is unknown \(did you mean 'smith'\?\); choices: "):
        parse_schedule({"kind": "one_cycle", "preset": "smit", "max_lr": 1})


@pytest.mark.parametrize("last", [10, 30, 200, 1000])
def test_slanted_triangular_is_equation_3(last: int) -> None:
    schedule = SlantedTriangular(max_lr=0.01)
    cut = floor(last / 10)
    for step, lr in enumerate(schedule.curves(None, last + 1).lr):
        p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / 0.1 - 1))
        assert lr == pytest.approx(0.01 * (1 + p * 31) / 32, rel=1e-9)
