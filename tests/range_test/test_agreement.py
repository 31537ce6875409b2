"""What single runs and several together say: known curves have known marks, and silence has a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.range_test import Reading, Run, agree, read, smooth
from lab.range_test.reading import fall_error, fallen_at


def run_of(losses: list[float] | np.ndarray, decay: float = 0.01, low: float = 1e-6, high: float = 10.0) -> Run:
    return Run(0, decay, np.geomspace(low, high, len(losses)), np.asarray(losses, dtype=float))


def reading(falls: float, half: float, least: float, decay: float = 0.0, bottom: float = 1.0) -> Reading:
    return Reading(0, decay, (1e-3,) * 50, (2.0,) * 49 + (bottom,), falls, half, least, {"valley": half})


def test_a_reading_marks_where_the_loss_falls_and_where_it_is_least() -> None:
    losses = np.concatenate([np.full(200, 2.0), np.linspace(2.0, 0.5, 200), np.full(100, 50.0)])
    run = run_of(losses)
    marked = read(run, stop_at=4.0)
    assert marked.falls_at is not None
    assert marked.halfway is not None
    assert marked.minimum is not None
    assert len(marked.lrs) < len(losses), "cut where it diverged"
    assert run.lrs[200] < marked.falls_at < marked.halfway < marked.minimum
    assert marked.minimum == pytest.approx(run.lrs[399], rel=0.05)


@given(share=st.floats(0.01, 0.99))
def test_a_share_of_a_straight_fall_is_that_share_of_the_way(share: float) -> None:
    lrs = np.geomspace(1e-5, 1, 51)
    losses = np.concatenate([np.full(10, 3.0), np.linspace(3, 1, 41)])
    assert np.log10(fallen_at(lrs, losses, share)) == pytest.approx(-4 + 4 * share, abs=1e-9)


def test_a_noisy_first_batch_does_not_pass_for_a_fall() -> None:
    lrs = np.geomspace(1e-5, 1, 51)
    losses = np.concatenate([[3.9, 2.4, 3.1, 2.9, 2.7], np.full(6, 3.0), np.linspace(3, 1, 40)])
    assert fallen_at(lrs, losses, 0.1) > lrs[11]


@pytest.mark.parametrize("losses", [[np.nan] * 50, [1.0] * 5, np.linspace(1, 2, 60), [2.0] * 60])
def test_a_run_without_a_fall_says_nothing(losses: list[float]) -> None:
    marked = read(run_of(losses), stop_at=4.0)
    assert not marked.says_something
    assert marked.rules == {}


@pytest.mark.parametrize("batch", [1, 4])
def test_runs_that_learn_nothing_are_not_read_however_few_examples_a_batch_has(batch: int) -> None:
    """Squared errors of a model that stays as it is until it diverges."""
    random = np.random.default_rng(batch)
    suggested = short = 0
    for _ in range(100):
        losses = random.chisquare(batch, (5, 100)) / batch
        losses[:, 80:] *= np.geomspace(1, 1e4, 20)
        readings = [read(run_of(one), stop_at=4.0) for one in losses]
        short += sum(len(r.lrs) < 60 for r in readings)
        suggested += agree(readings, end=10.0).suggestion is not None
    assert suggested <= 5
    assert short <= 10, "one lucky batch is no best to diverge from"


@pytest.mark.parametrize("seed", range(10))
def test_a_fall_is_found_in_noise_of_its_own_size(seed: int) -> None:
    """Batches of four: the loss falls from 2 to .4 between 1e-3 and 1e-1, and every value is .7 of itself off."""
    lrs = np.geomspace(1e-6, 10, 100)
    level = np.interp(np.log10(lrs), [-6, -3, -1, 0, 1], [2.0, 2.0, 0.4, 1.0, 40.0])
    losses = level * np.random.default_rng(seed).chisquare(4, 100) / 4
    agreement = agree([read(Run(0, 0.01, lrs, losses), stop_at=4.0)], end=10.0)
    assert agreement.suggestion is None or 1e-3 < agreement.suggestion < 0.3


def test_the_error_of_a_fall_is_that_of_its_two_averages() -> None:
    """Monte Carlo: the smoothed loss after ten steps less that after sixty, of losses that are noise alone."""
    random = np.random.default_rng(0)
    falls, errors = [], []
    for _ in range(2000):
        losses = 1 + 0.3 * random.normal(size=61)
        smoothed = smooth(losses)
        falls.append(smoothed[9] - smoothed[60])
        errors.append(fall_error(losses, 60))
    assert np.mean(errors) == pytest.approx(np.std(falls), rel=0.06)


def test_one_misread_run_moves_the_suggestion_no_further_than_its_neighbours() -> None:
    good = [reading(1e-3, 3e-2, 2e-1), reading(1e-3, 3.5e-2, 3e-1)]
    agreement = agree([*good, reading(1e-6, 1e-6, 1e-6)], end=10.0)
    assert agreement.suggestion is not None
    assert agreement.marks is not None
    assert agreement.low is not None
    assert agreement.high is not None
    assert agreement.marks[0] <= agreement.suggestion <= agreement.marks[1]
    assert agreement.low <= agreement.suggestion <= agreement.high
    assert agreement.suggestion > 1e-2


@given(
    runs=st.lists(st.tuples(st.floats(-6, 0), st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=6),
)
def test_the_suggestion_lies_between_its_marks_and_in_the_range(runs: list[tuple[float, float, float]]) -> None:
    marks = [(10**a, 10 ** (a + b), 10 ** (a + b + c)) for a, b, c in runs]
    agreement = agree([reading(*m) for m in marks], end=1e7)
    assert agreement.suggestion is not None
    assert agreement.marks is not None
    assert agreement.low is not None
    assert agreement.high is not None
    assert agreement.marks[0] * 0.999 <= agreement.suggestion <= agreement.marks[1] * 1.001
    assert agreement.low * 0.999 <= agreement.suggestion <= agreement.high * 1.001


def test_several_runs_are_read_by_their_medians_on_the_log_scale() -> None:
    runs = [reading(1e-4, 1e-3, 1e-2), reading(1e-3, 1e-2, 1e-1), reading(1e-2, 1e-1, 1.0)]
    agreement = agree(runs, end=10.0)
    assert agreement.suggestion == pytest.approx(1e-2)
    assert (agreement.low, agreement.high) == (pytest.approx(1e-3), pytest.approx(1e-1))
    assert agreement.sure is not None
    assert 0.99e-3 <= agreement.sure[0] < 1e-2 < agreement.sure[1] <= 1.01e-1
    assert agreement.verdict.startswith("3 of 3")


def test_runs_that_agree_are_sure_and_the_bootstrap_repeats() -> None:
    same = [reading(1e-4, 1e-2, 1e-1)] * 5
    agreement = agree(same, end=10.0)
    assert agreement.sure == (pytest.approx(1e-2), pytest.approx(1e-2))
    assert agreement.marks == (pytest.approx(1e-2), pytest.approx(1e-2))
    mixed = [reading(1e-4, lr, 1e-1) for lr in (1e-3, 2e-3, 5e-3, 1e-2)]
    assert agree(mixed, end=10.0, seed=3) == agree(mixed, end=10.0, seed=3)


def test_the_rate_lies_between_half_the_fall_and_a_tenth_of_the_least_loss_whichever_is_first() -> None:
    slow = agree([reading(1e-4, 1e-3, 1.0)] * 2, end=10.0)
    assert slow.suggestion == pytest.approx(1e-2)
    assert slow.marks == (pytest.approx(1e-3), pytest.approx(1e-1))
    sudden = agree([reading(1e-4, 4e-2, 1e-1)] * 2, end=10.0)
    assert sudden.suggestion == pytest.approx(2e-2)
    assert sudden.marks == (pytest.approx(1e-2), pytest.approx(4e-2))


@pytest.mark.parametrize("seed", range(5))
def test_noise_before_the_fall_does_not_move_the_rate_by_decades(seed: int) -> None:
    """Few examples: from 1e-4 on the loss falls slowly over three decades, while its first steps are noisy."""
    lrs = np.geomspace(1e-6, 10, 100)
    fall = np.interp(np.log10(lrs), [-6, -4, -1, 0, 1], [2.0, 2.0, 0.3, 2.0, 9.0])
    noise = np.random.default_rng(seed).normal(0, 0.5, 100) * (lrs < 1e-4)
    agreement = agree([read(Run(0, 0.01, lrs, fall + noise), stop_at=4.0)], end=10.0)
    assert agreement.suggestion is not None
    assert 3e-3 < agreement.suggestion < 0.1


def test_a_single_run_has_no_interval() -> None:
    assert agree([reading(1e-4, 1e-2, 1e-1)], end=10.0).sure is None


def test_the_range_spans_a_decade_at_least_and_ends_with_the_test() -> None:
    agreement = agree([reading(0.5, 0.7, 1.0)], end=10.0)
    assert (agreement.low, agreement.high) == (pytest.approx(0.1), pytest.approx(1.0))
    agreement = agree([reading(0.5, 0.7, 20.0)], end=10.0)
    assert agreement.high == 10.0


def test_the_weight_decay_is_the_largest_that_costs_no_loss() -> None:
    def runs(decay: float, bottoms: tuple[float, ...]) -> list[Reading]:
        return [reading(1e-3, 1e-2, 1e-1, decay, bottom) for bottom in bottoms]

    of_decays = runs(1e-3, (1.0, 1.1)) + runs(1e-2, (1.02, 1.1)) + runs(1e-1, (1.5, 1.6))
    assert agree(of_decays, end=10.0).weight_decay == 1e-2
    assert agree(runs(1e-3, (1.0, 1.1)), end=10.0).weight_decay is None


@pytest.mark.parametrize(("steps", "why"), [(50, "never falls"), (1, "diverges at once")])
def test_when_most_runs_say_nothing_the_verdict_says_why(steps: int, why: str) -> None:
    silent = Reading(0, 0.0, (1e-3,) * steps, (2.0,) * steps, None, None, None, {})
    agreement = agree([silent, silent, reading(1e-4, 1e-3, 1e-2)], end=10)
    assert (agreement.suggestion, agreement.low, agreement.high) == (None, None, None)
    assert why in agreement.verdict
    assert "2 of 3" in agreement.verdict
