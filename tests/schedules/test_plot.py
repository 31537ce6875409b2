"""The figure shows what the table says."""

from __future__ import annotations

import numpy as np
import pytest

from lab.schedules import KINDS, Ramp

from .examples import PLAIN


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_figure_shows_the_curves_and_cycle_ends(kind: str) -> None:
    schedule = PLAIN[kind]
    figure = schedule.plot(60)
    lr, momentum, decay, ends = figure.data
    for trace, curve in zip((lr, momentum, decay), schedule.curves(None, 60), strict=True):
        np.testing.assert_array_equal(trace.y, curve)
        np.testing.assert_array_equal(trace.x, np.arange(60))
    assert tuple(ends.x) == schedule.cycle_ends(60)


def test_a_ramp_can_be_shown_on_a_log_axis() -> None:
    assert Ramp().plot(60, log=True).layout.yaxis.type == "log"
    assert Ramp().plot(60).layout.yaxis.type is None
