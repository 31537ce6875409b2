"""What columns are taken for, what is learned from them, and rows as arrays, against numpy and closed forms."""

from __future__ import annotations

import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import TaskError
from lab.tasks.table import columns
from lab.tasks.table.columns import Category, Date, Number, Type, dump_column, fit_column, infer_type, load_column
from lab.tasks.table.encoding import Form, Notes, encode, to_codes
from lab.tasks.table.values import date_format, read_dates, to_numbers

RANDOM = np.random.default_rng(0)
DAYS = pd.Series(pd.date_range("2024-01-01", periods=60, freq="17h"))


def _series(values: Any, name: str = "c") -> pd.Series[Any]:
    return pd.Series(values, name=name)


def _inputs(column: Any, values: Any) -> np.ndarray:
    frame = pd.DataFrame({column.name: values})
    return encode(Form((column,)), frame, Notes())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RANDOM.normal(size=60), "number"),
        ([0, 1] * 30, "category"),
        (list(range(0, 120, 2)), "numbers the rows"),
        (list(RANDOM.permutation(60)), "number"),
        ([0.5, 1.5] * 30, "number"),
        ([True, False] * 30, "category"),
        (["a", "b"] * 30, "category"),
        ([f"name {i}" for i in range(60)], "has 60 different texts in 60 rows"),
        ([None] * 60, "is empty"),
        (["a"] * 60, "has one value only"),
        (["a"] * 59 + [None], "category"),
        (DAYS, "date"),
        (DAYS.dt.strftime("%d.%m.%Y"), "date"),
        ([str(v) for v in RANDOM.normal(size=60)], "number"),
        ([decimal.Decimal(int(v)) / 7 for v in RANDOM.permutation(60)], "number"),
        ([f"{i % 30:03}" for i in range(60)], "category"),
        ([*(f"{i % 20:03}" for i in range(59)), "A01"], "category"),
        (["0.5", "1.5", "10"] * 20, "number"),
        ([str(10**25 + i % 3) for i in range(60)], "has one value only"),
        ([[1, 2]] * 60, "holds lists or mappings"),
        ([{"a": 1}] * 60, "holds lists or mappings"),
    ],
)
def test_types_are_inferred(values: Any, expected: str):
    assert infer_type(_series(values)) == expected


def test_whole_numbers_of_few_values_are_categories():
    assert infer_type(_series(list(range(24)) * 3)) == "category"
    assert infer_type(_series(list(range(25)) * 3)) == "number"


def test_text_in_a_column_of_numbers_is_named_with_its_row_of_the_file():
    values = _series([*map(str, RANDOM.normal(size=29)), "oops"]).iloc[10:]
    with pytest.raises(TaskError, match=r"row 30 holds 'oops', and all but 1 of its 20 values are numbers; mend"):
        infer_type(values)
    with pytest.raises(TaskError, match=r"^column 'c': row 30 holds 'oops', which is no number"):
        to_numbers(values)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("%Y-%m-%d", "ISO8601"),
        ("%Y-%m-%d %H:%M:%S", "ISO8601"),
        ("%Y-%m-%dT%H:%M:%S+02:00", "ISO8601"),
        ("%Y-%m-%d %H:%M:%S.%fZ", "ISO8601"),
        ("%Y/%m/%d", "ISO8601"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%d/%m/%y", "%d/%m/%y"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M"),
        *((form, form) for form in ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y")),
        ("%d %b %Y %H:%M", "%d %b %Y %H:%M"),
        ("%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S"),
    ],
)
def test_dates_are_read_by_one_format(written: str, expected: str):
    assert date_format(DAYS.dt.strftime(written)) == expected


@pytest.mark.parametrize(
    "values", [["12 Jan bugs"] * 3, ["Marketing 2024"] * 3, ["2024-01-01", "1/2/2024"], ["2024-13-45"], ["1-2", "3-4"]]
)
def test_what_no_format_reads_is_no_date(values: list[str]):
    assert date_format(pd.Series(values)) is None


def test_a_number_is_standardised_by_its_own_statistics_and_the_gaps_get_the_median():
    values = RANDOM.normal(5, 3, 200)
    values[::10] = np.nan
    present = values[np.isfinite(values)]
    column = fit_column(_series(values), "number", bins=0)
    assert isinstance(column, Number)
    assert (column.mean, column.std, column.median) == pytest.approx(
        (present.mean(), present.std(), np.median(present))
    )
    assert column.missing
    plain, indicator = _inputs(column, values).T
    filled = np.where(np.isnan(values), np.median(present), values)
    np.testing.assert_allclose(plain, (filled - present.mean()) / present.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(indicator, np.isnan(values))


def test_infinities_are_missing_values():
    column = fit_column(_series([1.0, 2.0, np.inf, 3.0]), "number", bins=0)
    assert isinstance(column, Number)
    assert (column.mean, column.missing) == (2.0, True)


def test_numbers_beyond_what_can_be_squared_are_refused():
    with pytest.raises(TaskError, match=r"column 'c': holds 1e\+200; at most 1e\+30 can be learned from"):
        fit_column(_series([1.0, 1e200]), "number", 0)


def test_a_freak_value_of_a_later_row_stays_a_number():
    column = fit_column(_series(RANDOM.normal(size=50)), "number", bins=8)
    inputs = _inputs(column, [1e308, -1e308, np.inf])
    assert np.isfinite(inputs).all()
    assert abs(inputs).max() == 1e4


@pytest.mark.parametrize(
    "written", [[np.inf, 1.0, -np.inf, None], ["inf", "1", "-Infinity", None], ["1e400", "1", "-inf", ""]]
)
def test_infinities_of_later_rows_are_counted(written: list[Any]):
    column = fit_column(_series(RANDOM.normal(size=50)), "number", bins=0)
    notes = Notes()
    values = pd.Series(written).replace("", None)
    assert np.isfinite(encode(Form((column,)), pd.DataFrame({"c": values}), notes)).all()
    assert notes.lines == ["column 'c': 2 rows hold infinite numbers; they are treated as missing"]


def test_the_bins_are_quantiles_and_are_filled_piecewise_linearly():
    """Gorishniy et al. 2022, eq. 1: 0 below a bin, 1 above it, linear within; the outer bins go on."""
    column = fit_column(_series(np.arange(101.0)), "number", bins=4)
    assert isinstance(column, Number)
    assert column.edges == (0.0, 25.0, 50.0, 75.0, 100.0)
    encoding = _inputs(column, [0.0, 25.0, 40.0, 100.0, 110.0, -10.0, 1000.0])[:, 1:]
    expected = [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 0.6, 0, 0],
        [1, 1, 1, 1],
        [1, 1, 1, 1.4],
        [-0.4, 0, 0, 0],
        [1, 1, 1, 2],
    ]
    np.testing.assert_allclose(encoding, expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=60), st.integers(2, 16))
def test_the_encoding_grows_with_the_number(values: list[float], bins: int):
    column = fit_column(_series(values), "number", bins)
    assert isinstance(column, Number)
    assert list(column.edges) == sorted(set(column.edges))
    inputs = _inputs(column, np.sort(values))
    assert np.isfinite(inputs).all()
    assert (np.diff(inputs, axis=0) >= -1e-5).all()


def test_many_equal_numbers_leave_bins_for_the_others():
    column = fit_column(_series([0.0] * 900 + list(np.arange(1.0, 101.0))), "number", bins=4)
    assert isinstance(column, Number)
    assert len(column.edges) > 4


def test_levels_are_in_their_natural_order_and_differ_to_the_last_digit():
    levels_of = {
        ("10", "9", "b", "a"): ("9", "10", "a", "b"),
        (1234567, 1234568): ("1234567", "1234568"),
        (2**60, 2**60 + 1): (str(2**60), str(2**60 + 1)),
        (3.0, 1.0): ("1", "3"),
        (0.1234567, 0.1234568): ("0.1234567", "0.1234568"),
        (True, False): ("false", "true"),
        (" a", "a "): ("a",),
    }
    for written, expected in levels_of.items():
        column = fit_column(_series(list(written)), "category", 0)
        assert isinstance(column, Category)
        assert column.levels == expected


@pytest.mark.parametrize(
    ("trained", "later"),
    [
        ([1, 2, 3], [3.0, None, 1.0]),
        ([True, False, True], [True, None, True]),
        ([True, False, True], ["True", None, "False"]),
        ([1.0, 2.0, 3.0], ["3", None, "1"]),
    ],
)
def test_a_level_is_the_same_beside_a_gap_and_as_text(trained: list[Any], later: list[Any]):
    column = fit_column(_series(trained), "category", 0)
    assert isinstance(column, Category)
    notes = Notes()
    codes = to_codes(column, _series(later, "c").astype("object"), notes)
    assert codes.tolist() == [to_codes(column, _series([trained[-1]]), notes)[0], 0, codes[2]]
    assert codes[2] > 0
    assert notes.lines == []


@pytest.mark.parametrize(
    ("values", "codes"), [(["b", "q", None, "a", "r"], [2, 0, 0, 1, 0]), (["q", "b", "a", "A"], [0, 2, 1, 0])]
)
def test_unseen_levels_are_code_0_and_told(values: list[str | None], codes: list[int]):
    notes = Notes()
    assert to_codes(Category("c", ("a", "b")), _series(values), notes).tolist() == codes
    (line,) = notes.lines
    assert line == ("column 'c': 2 rows hold values not seen in training (such as 'q'); they are treated as unknown")


def test_a_date_is_taken_apart_into_what_varies():
    text = DAYS.dt.strftime("%Y-%m-%d %H:%M:%S").rename("d")
    column = fit_column(text, "date", bins=0)
    assert isinstance(column, Date)
    assert [part.name for part in column.parts] == ["d.month", "d.week", "d.day_of_week", "d.hour"]  # of one year
    frame = pd.DataFrame({"d": text})
    encoded = encode(Form((column,)), frame, Notes())
    month, weekday, hour = column.parts[0], column.parts[2], column.parts[3]
    for i, (part, expected) in enumerate(
        [(month, DAYS.dt.month), (weekday, DAYS.dt.day_of_week), (hour, DAYS.dt.hour)]
    ):
        assert isinstance(part, Category)
        assert [part.levels[int(code) - 1] for code in encoded[:, i]] == [str(v) for v in expected]
    week = column.parts[1]
    assert isinstance(week, Number)
    np.testing.assert_allclose(
        encoded[:, 3] * week.std + week.mean, DAYS.dt.isocalendar().week.astype(float), rtol=1e-5
    )


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_of_a_parquet_are_taken_as_they_are(zone: str | None):
    values = pd.Series(pd.date_range("2024-01-01", periods=60, freq="17h", tz=zone), name="d")
    column = fit_column(values, "date", bins=0)
    assert isinstance(column, Date)
    assert column.format is None
    encoded = encode(Form((column,)), pd.DataFrame({"d": values}), Notes())
    hours = column.parts[-1]
    assert isinstance(hours, Category)
    assert [hours.levels[int(code) - 1] for code in encoded[:, 2]] == [str(v) for v in values.dt.hour]


@pytest.mark.parametrize("values", [["15 Mar 2024", "1 Apr 2023"], ["30-Jan-2020", "01-FEB-2021"], ["May 3, 2024"] * 2])
def test_months_may_be_words_in_any_case(values: list[str]):
    name = date_format(pd.Series(values))
    dates = read_dates(pd.Series(values), name)
    expected = pd.to_datetime(pd.Series(values), format="mixed")
    assert dates.tolist() == expected.tolist()


def test_a_date_is_what_the_clock_there_showed_in_summer_and_in_winter():
    local = pd.Series(pd.date_range("2024-01-01", periods=60, freq="83h", tz="Europe/Berlin"), name="d")
    text = local.map(str)  # offsets +01:00 and +02:00
    assert text.str[-6:].nunique() == 2
    for format_, values in (("ISO8601", text), (None, local)):
        np.testing.assert_array_equal(read_dates(values, format_), local.dt.tz_localize(None))
    column = fit_column(text, "date", bins=0)
    later = encode(Form((column,)), pd.DataFrame({"d": text}), Notes())
    np.testing.assert_array_equal(later, encode(Form((column,)), pd.DataFrame({"d": local}), Notes()))


@pytest.mark.parametrize("native", [False, True])
def test_later_dates_that_cannot_be_read_are_missing_and_told(native: bool):
    column = fit_column(DAYS.rename("d") if native else DAYS.astype(str).rename("d"), "date", bins=0)
    notes = Notes()
    values = ["yesterday", None, "2024-13-45", "2024-01-02 00:00:00"]
    encoded = encode(Form((column,)), pd.DataFrame({"d": values}), notes)
    assert notes.lines == ["column 'd': 2 rows hold dates that cannot be read as ISO8601; they are treated as missing"]
    assert encoded[:, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["number", "category", "date"])
def test_a_column_that_a_table_lacks_is_missing_in_every_row_and_told(kind: Type):
    values = {"number": RANDOM.normal(size=60), "category": ["a", "b"] * 30, "date": DAYS}[kind]
    column = fit_column(_series(values), kind, bins=4)
    notes = Notes()
    encoded = encode(Form((column,)), pd.DataFrame({"other": [1, 2]}), notes)
    assert len(encoded) == 2
    assert np.isfinite(encoded).all()
    assert notes.lines == ["column 'c' is not in the table; it is treated as missing in every row"]


@pytest.mark.parametrize("kind", ["number", "category", "date"])
def test_what_was_learned_survives_json(kind: Type):
    values = {"number": [1.5, np.nan, 3.0, 4.0], "category": ["ä", "b", "c", None], "date": DAYS}[kind]
    column = fit_column(_series(values), kind, bins=3)
    assert load_column(json.loads(json.dumps(dump_column(column)))) == column


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["a", "b"], "number", "column 'c': row 1 holds 'a', which is no number"),
        (["a", "b"], "date", r"column 'c': its values are not dates that one format reads \(row 1 holds a\)"),
        ([1.5, 2.5], "date", "column 'c': its values are not dates"),
        ([None, None], "number", "column 'c': has no numbers in the training rows"),
    ],
)
def test_values_that_are_not_of_the_type_that_was_said(values: list[Any], kind: Type, message: str):
    with pytest.raises(TaskError, match=message):
        fit_column(_series(values), kind, 0)


def _streets(often: int, once: int) -> pd.Series[Any]:
    """Names that stand in two rows each, then names that stand in one."""
    return pd.Series([f"often {i % often}" for i in range(2 * often)] + [f"once {i}" for i in range(once)], name="c")


def test_many_texts_of_which_some_repeat_are_levels_with_one_code_for_the_rare(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MANY_LEVELS", 30)
    values = _streets(20, 30)  # 50 different in 70 rows
    assert infer_type(values) == "category"
    column = fit_column(values, "category", 0)
    assert isinstance(column, Category)
    assert (len(column.levels), column.rare, column.codes) == (20, 30, 22)
    notes = Notes()
    later = to_codes(column, _series(["often 0", "once 3", "never", None]), notes)
    assert later.tolist() == [1, 21, 21, 0]
    assert notes.lines == []
    assert load_column(json.loads(json.dumps(dump_column(column)))) == column


def test_texts_of_which_nearly_all_differ_identify_the_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MANY_LEVELS", 30)
    assert infer_type(_streets(3, 90)) == "has 93 different texts in 96 rows"


def test_in_few_rows_texts_of_which_most_differ_are_names():
    assert infer_type(_streets(20, 30)) == "has 50 different texts in 70 rows"


def test_of_too_many_levels_the_most_frequent_have_a_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MOST_LEVELS", 2)
    column = fit_column(_series(["b"] * 3 + ["c"] * 2 + ["a"] * 4 + ["d"]), "category", 0)
    assert isinstance(column, Category)
    assert (column.levels, column.rare) == (("a", "b"), 2)
    assert "rare" not in dump_column(Category("c", ("a", "b")))


def test_a_gap_is_the_empty_text_where_that_is_a_level():
    column = fit_column(_series(["", "a", "a", ""], "c"), "category", 0)
    assert isinstance(column, Category)
    assert to_codes(column, _series(["a", None, ""]), Notes()).tolist() == [2, 1, 1]


def test_what_earlier_versions_kept_of_a_column_is_kept_alike():
    date = fit_column(DAYS.rename("d"), "date", bins=0)
    assert isinstance(date, Date)
    assert "rare" not in json.dumps(dump_column(date))
