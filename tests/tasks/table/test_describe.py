"""What is told of a table before training: what was inferred, what is doubtful, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import LabError, TaskError
from lab.tasks.table import columns
from lab.tasks.table.columns import Category, Number
from lab.tasks.table.describe import describe, describe_data
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData
from tests.own_data import table, write_table


def _data(tmp_path: Path, frame: pd.DataFrame | None = None, **options: Any) -> TableData:
    path = write_table(tmp_path / "table.parquet", table() if frame is None else frame)
    return TableData(TableOptions(**{"path": str(path), "target": "answer", **options}))


def test_its_facts_say_what_was_inferred(tmp_path: Path):
    frame = table().assign(number2=lambda f: f["number"] ** 2, empty=None, same="a", name=[f"n{i}" for i in range(60)])
    description = describe_data(_data(tmp_path, frame, ignore=["number2"]))
    assert description.train_examples == 36
    assert "target answer: classification with 2 classes: no, yes" in description.facts
    assert "rows 36 train, 12 valid, 12 test (split: stratified)" in description.facts
    assert "numbers: number" in description.facts
    assert "categories (levels): letter (3)" in description.facts
    assert "date day: read as ISO8601; month, week, day_of_week, hour" in description.facts
    assert "left out number2: asked to be ignored" in description.facts
    assert "left out empty: is empty" in description.facts
    assert "left out same: has one value only" in description.facts
    assert "left out name: has 36 different texts in 36 rows" in description.facts
    assert description.warnings == (
        "rows are split whatever their 'day'; where later rows are to be predicted, say split: {kind: time, by: day}",
    )


def test_dates_that_two_formats_read_are_told(tmp_path: Path):
    frame = table().assign(day=[f"0{1 + i % 9}/0{1 + i % 7}/2021" for i in range(60)])
    assert describe_data(_data(tmp_path, frame)).warnings[0] == (
        "date 'day' is read as %m/%d/%Y, and all of it could be %d/%m/%Y as well; year-month-day leaves no doubt"
    )


def test_of_a_split_by_time_no_time_is_told(tmp_path: Path):
    assert describe_data(_data(tmp_path, split={"kind": "time", "by": "day"})).warnings == ()
    assert describe_data(_data(tmp_path, ignore=["day"])).warnings == ()


def test_rows_without_a_target_are_left_out_of_a_csv_and_of_test_rows(tmp_path: Path):
    frame = table().assign(answer=[1, None] * 30)
    frame.loc[:9, "answer"] = 0
    path, test = write_table(tmp_path / "a.csv", frame), write_table(tmp_path / "b.csv", frame)
    data = TableData(TableOptions(str(path), "answer", test_path=str(test), ignore=["day"]))
    assert data.fitted.target.levels == ("0.0", "1.0")  # as pandas writes them beside a gap
    assert len(data.rows["test"]) == 35
    assert describe_data(data).warnings[:2] == (
        "25 of 60 rows of a.csv have no answer and are left out",
        "25 of 60 rows of b.csv have no answer and are left out",
    )


def test_a_class_that_a_split_lacks_is_told(tmp_path: Path):
    frame = table()
    frame.loc[:2, "answer"] = "seldom"
    rows = pd.Series(["train"] * 40 + ["valid"] * 10 + ["test"] * 10, name="part")
    data = _data(tmp_path, frame.assign(part=rows), ignore=["day"], split={"kind": "declared", "by": "part"})
    assert describe_data(data).warnings == (
        "train has few examples of class seldom (3); scores say little of them",
        "valid has no example of class seldom; scores say little of them",
        "test has no example of class seldom; scores say little of them",
    )


def test_duplicates_across_splits_are_warned_of(tmp_path: Path):
    data = _data(tmp_path, pd.concat([table(), table()], ignore_index=True))
    warnings = describe_data(data).warnings
    assert len(warnings) == 3
    assert "valid rows have the features of a training row: duplicates make scores too good" in warnings[0]


def _leak(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(reply=frame["answer"].map({"no": 0, "yes": 1}))


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (None, {"path": "/nowhere.csv"}, "/nowhere.csv: does not exist"),
    (None, {"path": 3}, "task.path: 3 is not a path"),
    (None, {"test_path": 3}, "task.test_path: 3 is not a path"),
    (None, {"test_path": "/nowhere.csv"}, "/nowhere.csv: does not exist"),
    (None, {"target": "anwser"}, "task.target: there is no column 'anwser' (did you mean 'answer'?); columns: number"),
    (None, {"target": []}, "task.target: [] is neither a column's name nor a list of them"),
    (None, {"target": 3}, "task.target: 3 is neither"),
    (None, {"target": ["answer", "answer"]}, "task.target: ['answer', 'answer'] names a column twice"),
    (None, {"ignore": 3}, "task.ignore: 3 is not a list of columns"),
    (None, {"ignore": ["nmber"]}, "task.ignore: there is no column 'nmber' (did you mean 'number'?)"),
    (None, {"ignore": ["answer"]}, "task.ignore: 'answer' is the target"),
    (None, {"ignore": ["number", "letter", "day"]}, "table.parquet: has no column to learn from beside answer"),
    (None, {"types": "number"}, "task.types: 'number' is not a mapping of columns to number, category, date"),
    (None, {"types": {"number": "nmber"}}, "task.types.number: 'nmber' is unknown; choices: number, category, date"),
    (None, {"types": {"lettr": "date"}}, "task.types: there is no column 'lettr' (did you mean 'letter'?)"),
    (None, {"types": {"letter": "number"}}, "column 'letter': row 2 holds 'y', which is no number"),
    (None, {"types": {"letter": "date"}}, "column 'letter': its values are not dates that one format reads"),
    (None, {"target_type": "text"}, "task.target_type: 'text' is unknown; choices: number, category"),
    (None, {"target_type": "number"}, "column 'answer': row "),
    (None, {"missing": "NA"}, "task.missing: 'NA' is not a list of words; quote those"),
    (None, {"missing": ["NA", None]}, "task.missing: ['NA', None] is not a list of words"),
    (None, {"separator": ";;"}, "task.separator: ';;' is not one character, such as ',', ';', '|' or tab"),
    (None, {"separator": 3}, "task.separator: 3 is not one character"),
    (None, {"separator": ""}, "task.separator: '' is not one character"),
    (None, {"decimal": ";"}, "task.decimal: ';' is unknown; choices: '.', ','"),
    (None, {"encoding": "latin-99"}, "task.encoding: 'latin-99' is unknown; such as utf-8, cp1252, latin-1, utf-16"),
    (None, {"encoding": "base64"}, "task.encoding: 'base64' is unknown"),
    (None, {"encoding": 8}, "task.encoding: 8 is unknown"),
    (None, {"bins": -1}, "task.bins: -1 is not a whole number from 0 to 256, or auto"),
    (None, {"bins": 1.5}, "task.bins: 1.5 is not"),
    (None, {"bins": True}, "task.bins: True is not"),
    (None, {"layers": []}, "task.layers: [] is not a list of at most 100 widths from 1 to"),
    (None, {"layers": [0]}, "task.layers: [0] is not"),
    (None, {"layers": 5}, "task.layers: 5 is not"),
    (None, {"allow_leaks": "no"}, "task.allow_leaks: 'no' is not true or false"),
    (None, {"split": "tme"}, "task.split.kind: 'tme' is unknown (did you mean 'time'?); choices: "),
    (None, {"split": {"kind": "time", "by": "dya"}}, "task.split.by: there is no column 'dya' (did you mean 'day'?)"),
    (None, {"split": {"kind": "grouped", "by": "answer"}}, "task.split.by: 'answer' is the target"),
    (None, {"split": {"kind": "time", "by": "letter"}}, "column 'letter': its values are not dates"),
    (None, {"split": {"kind": "declared", "by": "letter"}}, "the split column holds 'x'; allowed: train, valid, test"),
    (lambda f: f.assign(answer="no"), {}, "target 'answer': is constant (no); there is nothing to learn"),
    (lambda f: f.assign(answer=["odd", *f["answer"][1:]]), {}, "class odd has 1 example; a stratified split needs at"),
    (lambda f: f.assign(answer=None), {}, "target 'answer': row 1 has none (60 rows in all)"),
    (lambda f: f.assign(answer=[f"c{i}" for i in range(60)]), {}, "target 'answer': 36 classes in 36 training rows"),
    (
        lambda f: f.assign(answer=[f"1,{100 + i}" for i in range(60)]),
        {"split": "random"},
        "target 'answer': 36 classes in 36 training rows are more than half as many; write '1,1",
    ),
    (lambda f: f.assign(answer=[np.inf, *f["number"][1:]]), {}, "target 'answer': row 1 has one beyond 1e+15"),
    (lambda f: f.assign(number=f["number"] * 1e200), {}, "column 'number': holds "),
    (lambda f: f.assign(number=["x", *map(str, f["number"][1:])]), {}, "column 'number': row 1 holds 'x'"),
    (lambda f: f.assign(number=[*map(str, f["number"][:-1]), "x"]), {}, "column 'number': row 60 holds 'x'"),
    (_leak, {}, "target 'answer' leaks: 'reply' says it exactly; add ignore: [reply], or allow_leaks: true if it is "),
    (lambda f: f.head(2), {}, "class "),
    (lambda f: f.head(0), {}, "table.parquet: has no rows"),
]


@pytest.mark.parametrize(("change", "options", "message"), BAD, ids=[message[:45] for *_, message in BAD])
def test_what_cannot_be_trained_on_is_refused_in_one_line(
    change: Any, options: dict[str, Any], message: str, tmp_path: Path
):
    path = write_table(tmp_path / "table.parquet", change(table()) if change else table())
    with pytest.raises(LabError) as caught:
        describe({"path": str(path), "target": "answer", **options})
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)
    assert "\n" not in str(caught.value)


def test_a_leak_may_be_meant(tmp_path: Path):
    assert "reply (2)" in " ".join(describe_data(_data(tmp_path, _leak(table()), allow_leaks=True)).facts)


def test_odd_columns_are_left_out_or_taken_and_never_end_in_a_traceback(tmp_path: Path):
    frame = table().assign(
        lists=[[1, 2]] * 60,
        mappings=[{"a": i} for i in range(60)],
        gaps=pd.array([None, 1, 2] * 20, dtype="Int64"),
        flags=pd.array([None, True, False] * 20, dtype="boolean"),
        kinds=pd.Categorical(["u", "v"] * 30),
        spans=pd.timedelta_range("1h", periods=60),
        half=np.float16(np.linspace(0, 1, 60)),
    )
    data = _data(tmp_path, frame)
    facts = " | ".join(describe_data(data).facts)
    assert "categories (levels): letter (3), gaps (2), flags (2), kinds (2)" in facts
    assert data.left_out["lists"] == data.left_out["mappings"] == "holds lists or mappings"


def test_numbers_among_words_are_told_of(tmp_path: Path):
    ages = [str(20 + i % 30) for i in range(40)] + ["19 years"] * 20
    (warning,) = describe_data(_data(tmp_path, table().assign(age=ages), ignore=["day"])).warnings
    assert warning.startswith(
        "column 'age' is taken for categories, though 24 of its values are numbers and 12 are not"
    )


def _garages(folder: Path, **options: Any) -> TableData:
    """Sixty houses, of which every other has none; three of them were not asked."""
    houses = table().assign(garage=["None", "built in"] * 30, answer=["NA", "yes", "no"] * 20)
    houses.loc[[1, 5, 9], "garage"] = "?"
    path = write_table(folder / "houses.csv", houses)
    return TableData(TableOptions(str(path), "answer", ignore=["day"], **options))


def test_words_taken_for_missing_values_are_told_with_their_number(tmp_path: Path):
    description = describe_data(_garages(tmp_path))
    assert "missing values (% of rows): garage (55)" in description.facts  # of 40 rows, 20 hold None and 2 ?
    assert description.warnings == (
        "20 of 60 rows of houses.csv have no answer and are left out ('NA' 20 times; if that is a class of its own, "
        "list what is missing in task.missing)",
        "column 'garage' of houses.csv holds 'None' 30 times, taken for missing values; if that is a level of its own, "
        "list what is missing in task.missing",
    )


def test_what_counts_as_missing_is_the_users_to_say(tmp_path: Path):
    data = _garages(tmp_path, missing=["?"])
    assert data.fitted.target.levels == ("NA", "no", "yes")
    assert "categories (levels): letter (3), garage (2)" in describe_data(data).facts
    assert describe_data(data).warnings == ()


@pytest.mark.parametrize(
    ("written", "example"),
    [
        ([f"{i % 7},{100 + i}" for i in range(60)], "0,100"),
        ([f"{i} %" for i in range(60)], "0 %"),
        ([f"${i}.50" for i in range(60)], "$0.50"),
        ([f"{i},5" for i in range(60)], "0,5"),
        (["12", "1 200"] * 30, "1 200"),
    ],
)
def test_numbers_as_people_write_them_are_told_of(written: list[str], example: str, tmp_path: Path):
    warnings = describe_data(_data(tmp_path, table().assign(price=written), ignore=["day"])).warnings
    doubts = [w for w in warnings if w.endswith("write it as a plain number")]
    assert len(doubts) == 1
    train = set(_data(tmp_path, table().assign(price=written), ignore=["day"]).part("train")["price"])
    assert doubts[0].startswith("column 'price' is text that looks like numbers, such as '")
    assert doubts[0].split("'")[3] in train
    assert example in written


def test_of_decimal_commas_it_is_told_how_to_have_them_read(tmp_path: Path):
    prices = [f"{i},5" for i in range(60)]
    path = str(write_table(tmp_path / "t.csv", table().assign(price=prices)))
    (warning,) = describe_data(TableData(TableOptions(path, "answer", ignore=["day"]))).warnings
    assert warning.endswith("say decimal: ',' or write it as a plain number")
    description = describe_data(TableData(TableOptions(path, "answer", ignore=["day"], decimal=",")))
    assert "numbers: number, price" in description.facts
    assert description.warnings == ()


def test_codes_among_which_most_are_digits_are_no_mistaken_numbers(tmp_path: Path):
    frame = table().assign(code=["001", "010", "A01"] * 20)
    assert describe_data(_data(tmp_path, frame, ignore=["day"])).warnings == ()


@pytest.mark.parametrize("written", [["3.1.4", "2.7.1"] * 30, ["a1", "b2"] * 30, ["12-34", "56-78"] * 30])
def test_other_texts_with_digits_are_not(written: list[str], tmp_path: Path):
    assert describe_data(_data(tmp_path, table().assign(price=written), ignore=["day"])).warnings == ()


def test_a_bad_value_of_the_test_rows_is_named_with_their_file_and_row(tmp_path: Path):
    frame = table(20, seed=1)
    frame.loc[3, "answer"] = None
    frame.loc[11, "answer"] = "unheard of"
    test = write_table(tmp_path / "later.csv", frame)
    with pytest.raises(TaskError, match=r"later\.csv: target 'answer': class 'unheard of' is not in the training rows"):
        describe_data(_data(tmp_path, test_path=str(test)))
    numbers = table(20, seed=1).astype({"number": str})
    numbers.loc[3, "answer"] = None
    numbers.loc[11, "number"] = "many"
    test = write_table(tmp_path / "later.csv", numbers)
    with pytest.raises(TaskError, match=r"later\.csv: column 'number': row 12 holds 'many', which is no number"):
        describe_data(_data(tmp_path, test_path=str(test)))


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y %I:%M %p"])
def test_one_date_that_cannot_be_is_named_and_its_column_not_lost(form: str, tmp_path: Path):
    days = pd.date_range("2020-01-01", periods=60).strftime(form).tolist()
    parts = ["valid"] * 5 + ["test"] * 5 + ["train"] * 50
    frame = table().assign(day=[*days[:-1], "2020-02-31"], part=parts)
    with pytest.raises(TaskError, match=r"column 'day': row 60 holds '2020-02-31', which is not read as the dates of"):
        describe_data(_data(tmp_path, frame, split={"kind": "declared", "by": "part"}))


def test_a_column_of_numbers_that_is_left_out_for_a_few_words_is_told_of(tmp_path: Path):
    ages = [str(i + 0.5) for i in range(45)] + [f"unknown {i}" for i in range(15)]
    description = describe_data(_data(tmp_path, table().assign(age=ages), ignore=["day"]))
    assert any(fact.startswith("left out age: has ") for fact in description.facts)
    (warning,) = description.warnings
    assert warning.startswith("column 'age' is left out, though ")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_infinite_numbers_are_missing_ones_and_no_traceback(kind: str, tmp_path: Path):
    frame = table().assign(y=lambda f: f["number"] * 3 + np.arange(60) % 7)
    frame.loc[::9, "number"] = np.inf
    path = write_table(tmp_path / f"t.{kind}", frame)
    description = describe({"path": str(path), "target": "y", "ignore": ["answer", "day"]})
    assert description.facts[0] == "target y: regression"
    assert description.warnings[0] == "column 'number' holds infinite numbers in 7 of 60 rows; they count as missing"


def test_what_is_a_level_in_a_parquet_is_one_in_a_csv_beside_it(tmp_path: Path):
    frame = table().assign(country=["NA", "US", "DE"] * 20, answer=["NA", "EU"] * 30)
    later = frame.head(20)
    both = [write_table(tmp_path / f"later.{kind}", later) for kind in ("csv", "parquet")]
    tables = [_data(tmp_path, frame, test_path=str(path), ignore=["day"]) for path in both]
    csv, parquet = (data.part("test").frame()[["country", "answer"]].astype(str) for data in tables)
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert describe_data(tables[0]).facts == describe_data(tables[1]).facts


def test_a_test_file_without_targets_is_named(tmp_path: Path):
    test = write_table(tmp_path / "later.csv", table(20, seed=1).assign(answer=None))
    with pytest.raises(TaskError, match=r"later\.csv: target 'answer': row 1 has none \(20 rows in all\)"):
        describe_data(_data(tmp_path, test_path=str(test)))


def _zips(rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(1)
    zips = [f"{z:05d}" for z in random.choice(np.arange(100, 99_999), 40, replace=False)]
    return table(rows).assign(zip=random.choice([*zips, "00501"], rows))


def test_codes_with_leading_zeros_are_categories_and_told(tmp_path: Path):
    frame = _zips()
    data = TableData(TableOptions(str(write_table(tmp_path / "t.csv", frame)), "answer", ignore=["day"]))
    (warning,) = describe_data(data).warnings
    count = int(data.part("train")["zip"].str.startswith("0").sum())
    assert f"column 'zip' is taken for categories; {count} of 120 training rows have leading zeros in it" in warning
    assert warning.endswith("if they are amounts all the same, say types: {zip: number}")
    (column,) = (c for c in data.fitted.columns if c.name == "zip")
    assert isinstance(column, Category)
    assert "00501" in column.levels


def test_codes_may_be_said_to_be_numbers_and_padded_amounts_are_doubted(tmp_path: Path):
    frame = _zips().assign(price=[f"{i % 50 + 0.25:07.2f}" for i in range(200)])
    path = str(write_table(tmp_path / "t.csv", frame))
    description = describe_data(TableData(TableOptions(path, "answer", ignore=["day"], types={"zip": "number"})))
    assert "numbers: number, zip, price" in description.facts
    (warning,) = description.warnings
    assert warning.startswith(
        "column 'price' is taken for numbers; 120 of 120 training rows have leading zeros in it, "
    )
    assert warning.endswith("if they are codes, say types: {price: category}")


def test_many_codes_are_left_out_and_told(tmp_path: Path):
    frame = table(200).assign(code=[f"{i:06d}" for i in np.random.default_rng(0).permutation(200)])
    description = describe_data(
        TableData(TableOptions(str(write_table(tmp_path / "t.csv", frame)), "answer", ignore=["day"]))
    )
    assert "left out code: has 120 different texts in 120 rows" in description.facts
    (warning,) = description.warnings
    assert warning.startswith("column 'code' is taken for nothing to learn from; 120 of 120 training rows have leading")


def test_codes_to_predict_are_classes_and_keep_their_zeros(tmp_path: Path):
    frame = table().assign(answer=["01", "02", "10"] * 20)
    data = TableData(TableOptions(str(write_table(tmp_path / "t.csv", frame)), "answer", ignore=["day"]))
    assert data.fitted.target.levels == ("01", "02", "10")
    assert describe_data(data).warnings[0].endswith("if they are amounts all the same, say target_type: number")
    said = TableOptions(str(tmp_path / "t.csv"), "answer", ignore=["day"], target_type="number")
    assert TableData(said).fitted.target.kind == "regression"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["id", "Unnamed: 0", "customerId"])
def test_identifiers_are_left_out_of_a_shuffled_table_too(name: str, kind: str, tmp_path: Path):
    frame = table(200).assign(**{name: np.random.default_rng(0).permutation(200)})
    path = write_table(tmp_path / f"t.{kind}", frame)
    description = describe_data(TableData(TableOptions(str(path), "answer", ignore=["day"])))
    assert f"left out {name}: identifies the rows" in description.facts
    assert description.warnings == ()
    kept = describe_data(TableData(TableOptions(str(path), "answer", ignore=["day"], types={name: "number"})))
    assert f"numbers: number, {name}" in kept.facts
    assert kept.warnings == ()


def test_what_may_be_an_identifier_is_told(tmp_path: Path):
    random = np.random.default_rng(0)
    frame = table(200).assign(serial=random.permutation(200) * 7, sold=random.integers(0, 99, 200))
    frame["Unnamed: 3"] = list(range(100)) * 2
    description = describe_data(_data(tmp_path, frame, ignore=["day"]))
    assert "numbers: number, serial, sold, Unnamed: 3" in description.facts
    assert description.warnings == (
        "another whole number in every row is what identifiers hold: serial; if that is so, add ignore: [serial]",
        "column 'Unnamed: 3' has no name, as an index that was written along; if it is one, add ignore: ['Unnamed: 3']",
    )


def test_the_share_of_each_class_is_told_with_what_the_commonest_scores(tmp_path: Path):
    frame = table(800).assign(answer=["fraud"] * 4 + ["ok"] * 796)
    description = describe_data(_data(tmp_path, frame, ignore=["day"]))
    assert "shares of classes in training: ok 0.996 (478), fraud 0.00417 (2)" in description.facts
    assert "always saying ok scores accuracy 0.994 on the validation rows" in description.facts
    assert description.warnings[0] == (
        "classes are of very different sizes: 239 training rows of ok to one of fraud; always saying ok scores "
        "accuracy 0.994 on the validation rows already"
    )


def test_classes_and_levels_that_differ_by_case_only_are_told(tmp_path: Path):
    frame = table(120).assign(answer=["yes", "Yes", "no"] * 40, letter=["a", "A", "b", "c"] * 30)
    assert describe_data(_data(tmp_path, frame, ignore=["day"])).warnings[:2] == (
        "classes differ by case or spaces only: 'Yes', 'yes'; if they are one, write them alike",
        "levels of column 'letter' differ by case or spaces only: 'A', 'a'; if they are one, write them alike",
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_whose_target_lies_far_out_are_named(kind: str, tmp_path: Path):
    random = np.random.default_rng(0)
    frame = table(600).assign(price=np.exp(1 + random.normal(size=600))).drop(columns="answer")
    frame.loc[[5, 77, 301], "price"] *= [1e5, 3e5, 2e5]
    order = frame["price"].sort_values(ascending=False).index[:3] + 1
    path = write_table(tmp_path / f"t.{kind}", frame)
    (warning,) = describe_data(TableData(TableOptions(str(path), "price", ignore=["day"]))).warnings
    assert warning.startswith("target 'price': 3 of 600 rows lie more than 1,000 times farther from the median 2.")
    assert f"rows {order[0]}, {order[1]}, {order[2]}; they outweigh all others" in warning
    assert {*order} == {6, 78, 302}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_number_that_may_stand_for_no_value_is_told_and_may_be_listed(kind: str, tmp_path: Path):
    random = np.random.default_rng(0)
    frame = table(300).assign(co=random.uniform(0.1, 12, 300).round(1), y=random.uniform(600, 2000, 300).round(1))
    frame.loc[::20, "co"] = -200.0
    frame.loc[10::30, "y"] = -999.0
    path = str(write_table(tmp_path / f"t.{kind}", frame.drop(columns="answer")))
    first = describe_data(TableData(TableOptions(path, "y", ignore=["day"]))).warnings
    assert len(first) == 2
    assert first[0].startswith("column 'co' holds -200 in ")
    assert " far from all others (0.1 to 12); if it stands for no value, list it in task.missing beside" in first[0]
    assert first[1].startswith("column 'y' holds -999 in ")
    data = TableData(TableOptions(path, "y", ignore=["day"], missing=["-200", "-999"]))
    assert describe_data(data).warnings == (f"10 of 300 rows of t.{kind} have no y and are left out",)
    (co,) = (c for c in data.fitted.columns if c.name == "co")
    assert isinstance(co, Number)
    assert co.missing
    assert co.mean > 0


def test_dates_with_months_in_words_are_dates(tmp_path: Path):
    days = pd.to_datetime(table()["day"])
    frame = table().assign(a=days.dt.strftime("%d %b %Y"), b=days.dt.strftime("%d-%b-%Y"))
    facts = describe_data(_data(tmp_path, frame, ignore=["day"])).facts
    assert "date a: read as %d %b %Y; month, week, day_of_week" in facts
    assert "date b: read as %d-%b-%Y; month, week, day_of_week" in facts


def test_levels_that_share_a_code_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(columns, "MOST_LEVELS", 2)
    frame = table(120).assign(street=["a", "b", "c", "d"] * 30)
    description = describe_data(_data(tmp_path, frame, ignore=["day"]))
    assert (
        "categories (levels): letter (2 of 3, the rare others as one), street (2 of 4, the rare others as one)"
        in description.facts
    )
