"""What the range test fills in wherever a spec says `from: bounds`: the range of `max_lr`, and the bell of a prior."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.record.folder import Record
from lab.response.encode import Encoding
from lab.spec.bounds import FROM_BOUNDS, without_range_test
from lab.spec.distributions import distribution
from lab.spec.space import Float, Space
from lab.spec.study import StudySpec
from lab.stages import bounds

_SURE_STDS = 4.0
"""Standard deviations from end to end of a 95 % interval."""
_MARKS_STDS = 2.0
"""Standard deviations between the two marks of a suggestion, whose mean is off by about half of what parts them."""
_LEAST_SPREAD = 0.15
"""The range test finds the right order of magnitude, not the best rate of a whole training."""


def space_of(spec: StudySpec, record: Record) -> Space:
    """The space with `from: bounds` filled in by the range test."""
    if not spec.space.needs_bounds:
        return spec.space
    tested = bounds.STAGE.need(record)
    return spec.space.with_bounds(tested.low, tested.high)


def sampler_of(spec: StudySpec, record: Record) -> dict[str, Any]:
    """The sampler's options with a prior `from: bounds` filled in by the range test, or dropped where it says nothing.

    The bell lies at the suggested rate; it is as wide as the rate is unsure between runs, and as the two marks that it
    is the mean of lie apart, on the scale of the range. Short trainings have decided where in all that the rate lies.
    """
    prior = spec.search.sampler.get("prior")
    if not isinstance(prior, dict) or FROM_BOUNDS not in prior.values():
        return spec.search.sampler
    sampler = without_range_test(spec.search.sampler)
    tested, dimension = bounds.STAGE.complete(record), spec.space.get("max_lr")
    if isinstance(tested, bounds.Bounds) and isinstance(dimension, Float) and dimension.high > dimension.low:
        units = Encoding({"max_lr": distribution(dimension)}).units
        runs, marks = (
            float(np.ptp(np.clip(units([{"max_lr": end} for end in ends]), 0, 1))) if ends else 0.0
            for ends in ((tested.sure, tested.marks) if tested.by_curve is None else (None, None))
        )
        spread = max(runs / _SURE_STDS, marks / _MARKS_STDS, _LEAST_SPREAD)
        sampler["prior"]["max_lr"] = {"center": tested.suggestion, "spread": spread}
    return sampler
