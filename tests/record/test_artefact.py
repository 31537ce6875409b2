"""An artefact's one JSON form: it comes back as it was, from other versions too, and a damaged one is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import RecordError
from lab.record.artefact import Measured, read_artefact, to_json
from lab.record.folder import read_json, write_json

numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=5)


@dataclass(frozen=True)
class Row:
    name: str
    kind: Literal["one", "several"]
    params: dict[str, float | int | str | bool]
    test: dict[str, float]
    low: float | None = None


@dataclass(frozen=True)
class Failed:
    name: str
    failed: str


@dataclass(frozen=True, kw_only=True)
class Made:
    count: int
    note: str | None
    pair: tuple[float, float] | None = None
    rows: tuple[Row | Failed, ...]
    curve: tuple[tuple[float, ...], ...] = ()
    by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Instead:
    reason: str


@dataclass(frozen=True)
class Scored:
    score: Measured


rows = st.builds(
    Row,
    name=words,
    kind=st.sampled_from(["one", "several"]),
    params=st.dictionaries(words, st.one_of(numbers, st.integers(-9, 9), words, st.booleans()), max_size=4),
    test=st.dictionaries(words, numbers, max_size=3),
    low=st.none() | numbers,
)
made = st.builds(
    Made,
    count=st.integers(-9, 9),
    note=st.none() | words,
    pair=st.none() | st.tuples(numbers, numbers),
    rows=st.lists(rows | st.builds(Failed, name=words, failed=words), max_size=3).map(tuple),
    curve=st.lists(st.lists(numbers, max_size=3).map(tuple), max_size=3).map(tuple),
    by=st.dictionaries(words, st.integers(0, 9), max_size=3),
)


@given(artefact=made)
def test_what_is_written_comes_back_with_the_types_it_had(
    artefact: Made, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "made.json"
    write_json(path, to_json(artefact))
    again = read_artefact(path, (Made, Instead))
    assert again == artefact
    assert repr(again) == repr(artefact)  # 1, 1.0 and True are equal
    assert to_json(again) == read_json(path)


def test_the_form_is_the_fields_in_their_order_with_numpys_numbers_as_plain_ones() -> None:
    row = Row("a", "one", {"n": np.int64(3)}, {"x": np.float32(0.5), "y": math.inf})  # type: ignore[dict-item]
    form = to_json(Made(count=1, note=None, pair=(0.0, math.nan), rows=(row,)))
    assert list(form) == ["count", "note", "pair", "rows", "curve", "by"]
    assert form["pair"] == [0.0, None]
    kept = {"name": "a", "kind": "one", "params": {"n": 3}, "test": {"x": 0.5, "y": None}, "low": None}
    assert form["rows"] == [kept]


def _written(folder: Path, value: Mapping[str, Any]) -> Path:
    path = folder / "made.json"
    path.write_text(json.dumps(value))
    return path


def test_a_number_that_was_none_is_nan_where_that_may_be(tmp_path: Path) -> None:
    assert math.isnan(read_artefact(_written(tmp_path, to_json(Scored(math.inf))), (Scored,)).score)
    assert read_artefact(_written(tmp_path, {"score": 2}), (Scored,)) == Scored(2.0)


def test_a_file_of_another_version_lacks_what_has_a_default_and_has_what_nobody_knows(tmp_path: Path) -> None:
    row = {"name": "a", "kind": "one", "params": {}, "test": {}, "later": [1]}
    path = _written(tmp_path, {"count": 1, "note": None, "rows": [row], "later": {"a": 1}})
    assert read_artefact(path, (Made,)) == Made(count=1, note=None, rows=(Row("a", "one", {}, {}),))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"count": "3"}, "count: '3': input should be a valid integer"),
        ({"count": True}, "count: 'True': input should be a valid integer"),
        ({"note": 4}, "note: '4': input should be a valid string"),
        ({"pair": [1.0]}, "lacks pair.1"),
        ({"rows": {"a": 1}}, "rows: "),
        ({"by": {"a": 1.5}}, "by.a: '1.5': input should be a valid integer"),
        ({"curve": [[1.0], "x" * 500]}, "curve.1: '"),
    ],
)
def test_what_cannot_be_is_named_in_one_line(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = _written(tmp_path, {"count": 1, "note": None, "rows": [], **change})
    with pytest.raises(RecordError) as refused:
        read_artefact(path, (Made, Instead))
    message = str(refused.value)
    assert message.startswith(f"{path}: {says}")
    assert message.endswith("; restore it from a copy, or delete it and resume")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"made\.json: lacks note, rows; restore it"):
        read_artefact(_written(tmp_path, {"count": 1}), (Made, Instead))
    with pytest.raises(RecordError, match=r"made\.json: lacks count, note, rows; restore it"):
        read_artefact(_written(tmp_path, {"reason": None}), (Made, Instead))
    with pytest.raises(RecordError, match="holds no JSON object"):
        read_artefact(_written(tmp_path, []), (Made,))  # type: ignore[arg-type]


def test_another_kind_is_read_where_the_usual_one_is_not_whole(tmp_path: Path) -> None:
    assert read_artefact(_written(tmp_path, {"reason": "no data"}), (Made, Instead)) == Instead("no data")
    whole = {"count": 1, "note": None, "rows": [], "reason": "kept beside"}
    assert isinstance(read_artefact(_written(tmp_path, whole), (Made, Instead)), Made)
