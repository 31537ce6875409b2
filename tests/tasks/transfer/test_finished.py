"""Which net another study's folder gives away, and what of the folder is read for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.tasks.transfer.finished import Finished, finished


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished study with two nets and a baseline before the refit, and one net after it."""
    chosen = [
        {"file": "logistic-regression.skops", "weight": 0.5},
        {"file": "0000-0.safetensors", "weight": 0.25},
        {"file": "0001-0.safetensors", "weight": 0.25},
    ]
    _write(tmp_path / "task.json", {"fitted": {"a": 1}})
    _write(tmp_path / "ensemble.json", {"chosen": {"members": chosen}})
    _write(tmp_path / "refit.json", {"members": [{"file": "0003-0.safetensors", "weight": 1.0}]})
    for name in ("final/0000-0", "final/0001-0", "refit/0003-0"):
        (tmp_path / f"{name}.safetensors").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def test_the_net_that_counts_most_is_taken_of_equals_the_first(study: Path):
    of = finished(str(study))
    assert of.fitted == {"a": 1}
    assert of.chosen() == study / "final/0000-0.safetensors"
    assert of.handed_out() == study / "refit/0003-0.safetensors"


def test_what_was_chosen_is_handed_out_where_nothing_was_refitted(study: Path):
    _write(study / "refit.json", {"skipped": "final.refit is false"})
    assert Finished(study).handed_out() == study / "final/0000-0.safetensors"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("refit.json", None, r"has not finished; lab study resume"),
        ("ensemble.json", None, r"ensemble\.json: is missing, or no file$"),
        ("ensemble.json", [], r"ensemble\.json: holds no JSON object$"),
        ("ensemble.json", {}, r"hands out no net \("),
        ("ensemble.json", {"chosen": {"members": [{"file": "a.skops", "weight": 1}]}}, r"hands out no net \("),
        (
            "ensemble.json",
            {"chosen": {"members": [{"file": "0000-0.safetensors", "weight": "x"}]}},
            r"hands out no net",
        ),
        ("ensemble.json", {"chosen": {"members": [{"file": "../0000-0.safetensors"}]}}, r"hands out no net"),
        (
            "ensemble.json",
            {"chosen": {"members": [{"file": "0009-0.safetensors", "weight": 1}]}},
            r"0009-0.* is missing",
        ),
    ],
)
def test_what_gives_no_net_is_said_in_a_line(name: str, value: Any, line: str, study: Path):
    (study / name).unlink()
    if value is not None:
        _write(study / name, value)
    with pytest.raises(LabError, match=line) as refused:
        Finished(study).chosen()
    assert "\n" not in str(refused.value)


def test_a_task_that_learns_nothing_has_nothing_fitted(study: Path):
    _write(study / "task.json", {"fitted": None})
    assert Finished(study).fitted == {}


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"\xff{"), lambda path: path.write_text("[" * 100_000)])
def test_a_damaged_file_is_named(harm: Any, study: Path):
    harm(study / "task.json")
    with pytest.raises(LabError, match=r"task\.json: cannot be read \("):
        _ = Finished(study).fitted
