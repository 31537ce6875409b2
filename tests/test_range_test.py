"""Range tests are read by their marks: known curves have known marks."""

from __future__ import annotations

import numpy as np
import pytest

from lab.range_test import Reading, Run, interval, longest_decline, read, smooth, stop_step, valley


def _run(losses: list[float] | np.ndarray, low: float = 1e-6, high: float = 10.0) -> Run:
    return Run(0, 0.01, np.geomspace(low, high, len(losses)), np.asarray(losses, dtype=float))


def _reading(falls_at: float | None, minimum: float | None, steps: int = 50) -> Reading:
    return Reading(0, 0.0, (0.0,) * steps, (0.0,) * steps, falls_at, minimum, None)


def test_smoothing_leaves_a_constant_as_it_is():
    np.testing.assert_allclose(smooth([3.0] * 20), 3.0, rtol=1e-12)


def test_smoothing_is_the_debiased_exponential_average():
    losses = [4.0, 2.0, 1.0]
    weights = [np.array([0.5 ** (i - j) for j in range(i + 1)]) for i in range(3)]
    expected = [float(w @ np.array(losses[: len(w)]) / w.sum()) for w in weights]
    np.testing.assert_allclose(smooth(losses, beta=0.5), expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_smoothed_losses_are_infinite_from_the_first_that_is_not_finite(bad: float):
    smoothed = smooth([1.0, 1.0, bad, 1.0])
    assert np.isfinite(smoothed[:2]).all()
    assert np.isinf(smoothed[2:]).all()


def test_a_run_stops_at_the_first_step_above_the_multiple_of_its_best():
    assert stop_step(np.array([2.0, 1.0, 3.9, 4.1, 1.0]), 4.0) == 3
    assert stop_step(np.array([2.0, 1.0, 4.0]), 4.0) is None


@pytest.mark.parametrize("first_bad", [0, 1, 5])
def test_a_run_stops_where_its_loss_is_not_finite_even_at_its_first_step(first_bad: int):
    losses = np.ones(8)
    losses[first_bad:] = np.nan
    assert stop_step(smooth(losses), 4.0) == first_bad


def test_a_loss_below_zero_may_fall_without_being_stopped():
    assert stop_step(np.linspace(-1.0, -3.0, 20), 4.0) is None
    assert stop_step(np.array([-1.0, -2.0, 3.0, 5.0]), 4.0) == 3


def test_the_longest_decline_is_the_earliest_of_the_longest():
    assert longest_decline(np.array([5.0, 6.0, 4.0, 3.0, 9.0, 2.0])) == (1, 5)


def _fastai_valley_index(losses: np.ndarray) -> int:
    n, start, end = len(losses), 0, 0
    lengths = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lengths[i] < lengths[j] + 1:
                lengths[i] = lengths[j] + 1
            if lengths[end] < lengths[i]:
                end, start = i, i - lengths[i]
    sections = (end - start) / 3
    return start + int(sections) + int(sections / 2)


@pytest.mark.parametrize("seed", range(8))
def test_the_valley_is_the_one_fastai_suggests(seed: int):
    x = np.linspace(-3, 3, 60)
    losses = 2.3 - np.exp(-((x - 0.5) ** 2)) + 0.02 * np.random.default_rng(seed).normal(size=60)
    losses[:3] = 2.0  # so that the decline does not begin at the very first step
    lrs = np.geomspace(1e-6, 1, 60)
    assert valley(lrs, losses) == lrs[_fastai_valley_index(losses)]


def test_a_loss_that_never_falls_has_no_valley():
    assert valley(np.geomspace(1e-6, 1, 10), np.arange(10.0)) is None


def test_a_reading_marks_where_the_loss_falls_and_where_it_is_least():
    losses = np.concatenate([np.full(200, 2.0), np.linspace(2.0, 0.5, 200), np.full(100, 50.0)])
    run = _run(losses)
    reading = read(run, stop_at=4.0)
    assert reading.falls_at is not None
    assert reading.minimum is not None
    assert len(reading.lrs) < len(losses), "cut where it diverged"
    assert run.lrs[200] < reading.falls_at < run.lrs[320], "the average trails the loss by some steps"
    assert reading.minimum == pytest.approx(run.lrs[399], rel=0.05)


def test_a_run_that_is_infinite_from_the_start_says_nothing():
    reading = read(_run([np.nan] * 50), stop_at=4.0)
    assert (reading.falls_at, reading.minimum, reading.valley, reading.lrs) == (None, None, None, ())


def test_the_interval_is_the_medians_on_the_log_scale_and_three_times_the_minimum():
    found = interval([_reading(1e-4, 1e-2), _reading(1e-3, 1e-1), _reading(1e-2, 1.0)], end=10)
    assert found.low == pytest.approx(1e-3)
    assert found.high == pytest.approx(0.3)
    assert found.verdict.startswith("3 of 3")


def test_the_interval_spans_a_decade_at_least_and_ends_with_the_test():
    found = interval([_reading(0.5, 8.0)], end=10.0)
    assert (found.low, found.high) == (pytest.approx(0.5), 10.0)
    found = interval([_reading(0.9, 1.0)], end=10.0)
    assert (found.low, found.high) == (pytest.approx(0.3), pytest.approx(3.0))


@pytest.mark.parametrize(("steps", "why"), [(50, "never falls"), (1, "diverges at once")])
def test_when_most_runs_say_nothing_the_verdict_says_why(steps: int, why: str):
    found = interval([_reading(None, None, steps), _reading(None, None, steps), _reading(1e-3, 1e-2)], end=10)
    assert (found.low, found.high) == (None, None)
    assert why in found.verdict
    assert "2 of 3" in found.verdict
