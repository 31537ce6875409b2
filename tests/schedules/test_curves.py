"""The shapes themselves: exact at both ends, monotone and never beyond them between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.schedules.curves import (
    Shape,
    cosine,
    exponential,
    fraction,
    linear,
    one_minus_sqrt,
    piecewise,
    portion,
    power,
)

from .examples import CHECK

SHAPES = {"linear": linear, "cosine": cosine, "exponential": exponential, "sqrt": one_minus_sqrt, "power": power(2.5)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@CHECK
@given(start=st.floats(1e-9, 1e3), end=st.floats(1e-9, 1e3), last=st.integers(1, 500))
def test_shapes_are_exact_and_bounded(shape: Shape, start: float, end: float, last: int) -> None:
    values = shape(start, end, fraction(np.arange(last + 1), 0, last))
    assert values[0] == start
    assert values[-1] == end
    assert values.min() == min(start, end)
    assert values.max() == max(start, end)


def test_fraction_stays_between_its_ends() -> None:
    assert fraction(np.arange(6), 1, 3).tolist() == [0, 0, 0.5, 1, 1, 1]
    assert fraction(np.arange(3), 1, 1).tolist() == [0, 0, 0]


def test_nodes_on_one_step_keep_first_and_last_values() -> None:
    assert piecewise(np.arange(1), [0, 0, 0], [1, 2, 3], linear).tolist() == [1]
    assert piecewise(np.arange(2), [0, 0, 1], [1, 2, 3], linear).tolist() == [1, 3]
    assert piecewise(np.arange(3), [0, 1, 2, 2], [1, 2, 3, 4], linear).tolist() == [1, 2, 4]


def test_portions_are_decimal() -> None:
    assert 0.29 * 100 < 29
    assert portion(0.29, 100) == 29
    assert portion(0.1, 9) == 0
