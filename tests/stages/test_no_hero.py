"""The settings of somebody who searches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import Record
from lab.spec.study import parse_spec
from lab.stages import bounds
from lab.stages.bounds import Bounds
from lab.stages.no_hero import no_hero
from tests.small import small


def _params(folder: Path, space: dict[str, Any], suggestion: float | None = None) -> dict[str, Any]:
    record = Record(folder)
    if suggestion is not None:
        tested = Bounds(suggestion=suggestion, sure=None, low=1e-3, high=0.3, weight_decay=None, verdict="", runs=())
        bounds.STAGE.write(record, tested)
    return no_hero(parse_spec(small(space=space)), record)


def test_the_rate_is_the_suggested_one_and_the_rest_is_usual(tmp_path: Path) -> None:
    space = {
        "max_lr": {"from": "bounds"},
        "cycles": {"choice": [3, 2]},
        "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
    }
    assert _params(tmp_path, space, 0.02) == {"max_lr": 0.02, "cycles": 1, "weight_decay": 0.01, "dropout": 0.1}


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        ({"low": 0.2, "high": 0.6}, 0.2),
        ({"low": 0.0, "high": 0.05}, 0.05),
        ({"choice": [0.0, 0.25, 0.5]}, 0.0),
        ({"choice": [0.5, 0.15]}, 0.15),
    ],
)
def test_what_lies_outside_the_space_is_moved_to_its_nearer_end(
    dimension: dict[str, Any], expected: float, tmp_path: Path
) -> None:
    space = {"max_lr": {"low": 1e-4, "high": 1e-2, "log": True}, "dropout": dimension}
    params = _params(tmp_path, space)
    assert params == {"max_lr": pytest.approx(1e-3), "cycles": 1, "dropout": expected}


def test_other_hyperparameters_are_in_the_middle(tmp_path: Path) -> None:
    space = {
        "max_lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "label_smoothing": {"low": 0.0, "high": 0.2},
        "batch_size": {"choice": [32, 64]},
    }
    params = _params(tmp_path, space)
    assert params["label_smoothing"] == 0.1
    assert params["batch_size"] == 64  # the spec's own
