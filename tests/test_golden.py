"""Two small whole studies end as they did when they were recorded; `python -m tests.renew_golden` records them anew."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.golden_studies import STUDIES, recorded, run
from tests.portrait import STRUCTURE_ONLY, differences


@pytest.mark.slow
@pytest.mark.usefixtures("whole_forests")
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_as_it_was_recorded(name: str, tmp_path: Path):
    assert list(differences(run(name, tmp_path), recorded(name))) == []


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ({"a": 1.0}, "b: is gone"),
        ({"a": 1.0, "b": [0.5, 2], "c": None}, "c: is new"),
        ({"a": 1.0, "b": [0.5]}, "b: has 1 entries; recorded were 2"),
        ({"a": 1.002, "b": [0.5, 2]}, "a: is 1.002; recorded was 1.0"),
        ({"a": None, "b": [0.5, 2]}, "a: is None; recorded was 1.0"),
        ({"a": float("nan"), "b": [0.5, 2]}, "a: is nan; recorded was 1.0"),
        ({"a": 1.0, "b": [0.5, 3]}, "b.1: is 3; recorded was 2"),
        ({"a": 1.0, "b": [0.5, True]}, "b.1: is True; recorded was 2"),
        ({"a": 1.0, "b": "text"}, "b: is 'text'; recorded was [0.5, 2]"),
    ],
)
def test_a_change_is_seen(now: dict[str, Any], line: str):
    assert list(differences(now, {"a": 1.0, "b": [0.5, 2]})) == [line]


def test_the_last_digits_are_not_compared():
    assert list(differences({"a": 1.0001, "b": 1e-8}, {"a": 1, "b": -1e-8})) == []


def test_where_only_structure_is_compared_a_type_still_counts():
    path = {"artefacts": {"ensemble": {"baselines": [{"fit_s": 0.1}]}}}
    other = {"artefacts": {"ensemble": {"baselines": [{"fit_s": None}]}}}
    assert list(differences(path, {"artefacts": {"ensemble": {"baselines": [{"fit_s": 9.0}]}}})) == []
    assert len(list(differences(other, path))) == 1


def test_no_exception_is_made_for_what_is_not_there():
    paths = {path for name in STUDIES for path in _paths(recorded(name), "")}
    for pattern in STRUCTURE_ONLY:
        assert any(fnmatch(path, pattern) for path in paths), pattern


def _paths(value: Any, path: str) -> list[str]:
    if not isinstance(value, (dict, list)):
        return [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    return [deeper for key, entry in entries for deeper in _paths(entry, f"{path}.{key}".lstrip("."))]
