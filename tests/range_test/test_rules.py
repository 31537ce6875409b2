"""The rules of fastai give fastai's values on the same losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.range_test.rules import RULES, longest_decline, slide

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden/range_test_fastai.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_what_fastai_2_8_12_gives(rule: str, case: dict[str, Any]) -> None:
    lrs, losses = np.array(case["lrs"]), np.array(case["losses"])
    assert RULES[rule](lrs, losses) == pytest.approx(case["expected"][rule], rel=1e-5)


def test_the_longest_decline_is_the_earliest_of_the_longest() -> None:
    assert longest_decline(np.array([5.0, 6.0, 4.0, 3.0, 9.0, 2.0])) == (1, 5)


def test_nothing_falls_and_the_decline_is_empty() -> None:
    assert longest_decline(np.arange(10.0)) == (0, 0)


def test_slide_on_fewer_steps_than_its_interval_is_the_first_rate() -> None:
    assert slide(np.geomspace(1e-3, 1, 5), np.array([3.0, 2.0, 1.0, 2.0, 9.0])) == 1e-3
