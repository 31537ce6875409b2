"""What short trainings decide: a rate, or midway to one as good, and ends only where a rate is surely worse."""

from __future__ import annotations

import pytest

from lab.range_test import HALF_DECADE, MULTIPLES, Decision, Tried, beyond, decide

RATES = [0.01 * multiple for multiple in MULTIPLES]


def decided(*scores: tuple[float | None, ...], direction: str = "maximize") -> Decision | None:
    return decide([Tried(lr, of_one) for lr, of_one in zip(RATES, scores, strict=True)], 0.01, direction)


def test_the_best_is_taken_and_the_range_ends_where_it_is_surely_worse() -> None:
    decision = decided((0.7, 0.71), (0.8, 0.81), (0.9, 0.91), (0.8, 0.81), (0.1, 0.9))
    assert decision == Decision(pytest.approx(RATES[2]), RATES[1], RATES[3])


def test_a_loss_is_best_where_it_is_least() -> None:
    decision = decided((0.7, 0.71), (0.3, 0.31), (0.9, 0.91), (0.8, 0.81), (1.1, 1.9), direction="minimize")
    assert decision == Decision(pytest.approx(RATES[1]), RATES[0], RATES[2])


def test_midway_to_a_neighbour_that_is_as_good_within_the_noise_of_seeds() -> None:
    decision = decided((0.7, 0.71), (0.8, 0.81), (0.9, 0.95), (0.89, 0.95), (0.1, 0.9))
    assert decision == Decision(pytest.approx((RATES[2] * RATES[3]) ** 0.5), RATES[1], RATES[4])


def test_between_two_neighbours_as_good_it_stays() -> None:
    decision = decided((0.7, 0.71), (0.89, 0.95), (0.9, 0.95), (0.89, 0.95), (0.5, 0.52))
    assert decision == Decision(pytest.approx(RATES[2]), RATES[0], RATES[4])


def test_a_single_seed_decides_on_the_rate_and_on_no_end() -> None:
    assert decided((0.7,), (0.8,), (0.9,), (0.8,), (0.1,)) == Decision(pytest.approx(RATES[2]), None, None)


def test_a_rate_at_which_one_diverged_is_surely_worse() -> None:
    assert decided((0.7,), (0.8,), (0.9,), (0.8,), (None,)) == Decision(pytest.approx(RATES[2]), None, RATES[4])
    assert decided((0.7, 0.7), (0.8, 0.8), (0.9, None), (0.6, 0.6), (0.5, 0.5)) == Decision(
        pytest.approx(RATES[1]), RATES[0], RATES[2]
    )


def test_of_equal_rates_the_one_nearest_to_the_suggestion_is_taken() -> None:
    assert decided((1.0,), (1.0,), (0.9,), (1.0,), (0.9,)) == Decision(
        pytest.approx((RATES[0] * RATES[1]) ** 0.5), None, None
    )


def test_where_all_diverge_nothing_is_decided() -> None:
    assert decided(*[(None,)] * 5) is None
    assert decide([], 0.01, "maximize") is None


def test_a_bad_rate_among_good_ones_is_no_end() -> None:
    assert decided((0.9, 0.91), (0.5, 0.51), (0.9, 0.92), (0.5, 0.51), (0.9, 0.91)) == Decision(
        pytest.approx(RATES[2]), None, None
    )


@pytest.mark.parametrize(
    ("scores", "further"),
    [
        ((0.1, 0.2, 0.3, 0.4, 0.5), RATES[4] * HALF_DECADE),
        ((0.5, 0.4, 0.3, 0.2, 0.1), RATES[0] / HALF_DECADE),
        ((0.1, 0.5, 0.3, 0.2, 0.1), None),
        ((None, None, None, None, None), None),
    ],
)
def test_what_is_tried_goes_on_beyond_an_end_that_is_best(
    scores: tuple[float | None, ...], further: float | None
) -> None:
    tried = [Tried(lr, (score,)) for lr, score in zip(RATES, scores, strict=True)]
    assert beyond(tried, 0.01, "maximize") == (None if further is None else pytest.approx(further))
