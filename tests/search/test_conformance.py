"""Optuna's own conformance suite for samplers, unmodified."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from optuna.testing.pytest_samplers import (
        BasicSamplerTestCase,
        RelativeSamplerTestCase,
        SingleOnlySamplerTestCase,
    )

from lab.search import ForestSampler


class _Forest:
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: ForestSampler(seed=0, startup=2)

    @pytest.fixture(autouse=True)
    def _quiet(self, quiet_optuna: None) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the suite's own use of PartialFixedSampler
            yield


class TestBasic(_Forest, BasicSamplerTestCase):
    """Values, conditions, NaN scores, fixed and single parameters."""


class TestRelative(_Forest, RelativeSamplerTestCase):
    """Values drawn together, and by several threads."""


class TestSingleOnly(_Forest, SingleOnlySamplerTestCase):
    """Several objectives are refused."""
