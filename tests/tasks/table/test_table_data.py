"""A table made ready: what is learned comes from its training rows alone, and what is doubtful is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import LabError, TaskError
from lab.tasks.table.columns import Category, Number
from lab.tasks.table.table_data import Fitted, TableData, TableOptions, describe
from tests.own_data import table, write_table


def _data(tmp_path: Path, frame: pd.DataFrame | None = None, **options: Any) -> TableData:
    path = write_table(tmp_path / "table.parquet", table() if frame is None else frame)
    return TableData(TableOptions(**{"path": str(path), "target": "answer", **options}))


def test_what_is_learned_comes_from_the_training_rows_alone(tmp_path: Path):
    data = _data(tmp_path)
    train = data.part("train")
    number, letter = data.fitted.columns[0], data.fitted.columns[1]
    assert isinstance(number, Number)
    assert isinstance(letter, Category)
    assert number.mean == pytest.approx(train["number"].mean())
    changed = data.frame.copy()
    changed.loc[data.rows["test"], "number"] += 100
    changed.loc[data.rows["valid"], "letter"] = "unheard of"
    assert _data(tmp_path, changed).fitted == data.fitted


def test_what_was_learned_survives_json_and_damage_is_named(tmp_path: Path):
    fitted = _data(tmp_path).fitted
    dumped = json.loads(json.dumps(fitted.dump()))
    assert Fitted.load(dumped) == fitted
    del dumped["columns"][0]["type"]
    with pytest.raises(TaskError, match="what was fitted to the table is damaged"):
        Fitted.load(dumped)


def test_its_facts_say_what_was_inferred(tmp_path: Path):
    frame = table().assign(number2=lambda f: f["number"] ** 2, empty=None, same="a", name=[f"n{i}" for i in range(60)])
    found = _data(tmp_path, frame, ignore=["number2"]).describe()
    assert found.train_examples == 36
    assert "target answer: classification with 2 classes: no, yes" in found.facts
    assert "rows 36 train, 12 valid, 12 test (split: stratified)" in found.facts
    assert "numbers: number" in found.facts
    assert "categories (levels): letter (3)" in found.facts
    assert "date day: read as ISO8601; month, week, day_of_week, hour" in found.facts
    assert "left out number2: asked to be ignored" in found.facts
    assert "left out empty: is empty" in found.facts
    assert "left out same: has one value only" in found.facts
    assert "left out name: has 36 different texts in 36 rows" in found.facts
    assert found.warnings == (
        "rows are split whatever their 'day'; where later rows are to be predicted, say split: {kind: time, by: day}",
    )


def test_dates_that_two_formats_read_are_told(tmp_path: Path):
    frame = table().assign(day=[f"0{1 + i % 9}/0{1 + i % 7}/2021" for i in range(60)])
    assert _data(tmp_path, frame).describe().warnings[0] == (
        "date 'day' is read as %m/%d/%Y, and all of it could be %d/%m/%Y as well; year-month-day leaves no doubt"
    )


def test_of_a_split_by_time_no_time_is_told(tmp_path: Path):
    assert _data(tmp_path, split={"kind": "time", "by": "day"}).describe().warnings == ()
    assert _data(tmp_path, ignore=["day"]).describe().warnings == ()


@pytest.mark.parametrize("answers", [["no", "yes"], [0, 1], [True, False], [1.5, 2.5]])
def test_rows_without_a_target_are_left_out_and_counted(answers: list[Any], tmp_path: Path):
    whole = table().assign(answer=answers * 30)
    gaps = whole.astype({"answer": object})
    gaps.loc[[1, 2, 30], "answer"] = None
    found = _data(tmp_path, gaps, ignore=["day"])
    (tmp_path / "whole").mkdir()
    alone = _data(tmp_path / "whole", whole.drop(index=[1, 2, 30]), ignore=["day"])
    assert found.describe().warnings == ("3 of 60 rows of table.parquet have no answer and are left out",)
    assert found.fitted == alone.fitted
    np.testing.assert_array_equal(found.targets("train"), alone.targets("train"))


def test_rows_without_a_target_are_left_out_of_a_csv_and_of_test_rows(tmp_path: Path):
    frame = table().assign(answer=[1, None] * 30)
    frame.loc[:9, "answer"] = 0
    path, test = write_table(tmp_path / "a.csv", frame), write_table(tmp_path / "b.csv", frame)
    found = TableData(TableOptions(str(path), "answer", test_path=str(test), ignore=["day"]))
    assert found.fitted.target.levels == ("0", "1")
    assert len(found.rows["test"]) == 35
    assert found.describe().warnings[:2] == (
        "25 of 60 rows of a.csv have no answer and are left out",
        "25 of 60 rows of b.csv have no answer and are left out",
    )


def test_a_class_that_a_split_lacks_is_told(tmp_path: Path):
    frame = table()
    frame.loc[:2, "answer"] = "seldom"
    rows = pd.Series(["train"] * 40 + ["valid"] * 10 + ["test"] * 10, name="part")
    found = _data(tmp_path, frame.assign(part=rows), ignore=["day"], split={"kind": "declared", "by": "part"})
    assert found.describe().warnings == (
        "train has few examples of class seldom (3); scores say little of them",
        "valid has no example of class seldom; scores say little of them",
        "test has no example of class seldom; scores say little of them",
    )


def test_duplicates_across_splits_are_warned_of(tmp_path: Path):
    data = _data(tmp_path, pd.concat([table(), table()], ignore_index=True))
    warnings = data.describe().warnings
    assert len(warnings) == 3
    assert "valid rows have the features of a training row: duplicates make scores too good" in warnings[0]


def test_test_rows_may_come_from_another_file(tmp_path: Path):
    test = write_table(tmp_path / "test.csv", table(20, seed=1).assign(more=1))
    data = _data(tmp_path, test_path=str(test))
    assert {split: len(rows) for split, rows in data.rows.items()} == {"train": 48, "valid": 12, "test": 20}
    pd.testing.assert_frame_equal(data.part("test").reset_index(drop=True), table(20, seed=1))
    lacking = write_table(tmp_path / "lacking.csv", table(20, seed=1).drop(columns="letter"))
    with pytest.raises(TaskError, match=r"lacking\.csv: lacks column 'letter'"):
        _data(tmp_path, test_path=str(lacking)).describe()
    empty = write_table(tmp_path / "empty.csv", table(20, seed=1).assign(answer=None))
    with pytest.raises(TaskError, match=r"target 'answer': row 1 has none \(20 rows in all\)"):
        _data(tmp_path, test_path=str(empty)).describe()


def test_rows_are_split_by_time_by_group_or_as_a_column_says(tmp_path: Path):
    shuffled = table().sample(frac=1, random_state=0, ignore_index=True)
    by_time = _data(tmp_path, shuffled, split={"kind": "time", "by": "day"})
    days = [by_time.part(split)["day"] for split in ("train", "valid", "test")]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()
    groups = table().assign(person=np.arange(60) // 3)
    grouped = _data(tmp_path, groups, split={"kind": "grouped", "by": "person"})
    people = [set(grouped.part(split)["person"]) for split in ("train", "valid", "test")]
    assert sum(map(len, people)) == 20
    assert grouped.left_out["person"] == "says the split"
    declared = table().assign(part=["train"] * 40 + ["valid"] * 10 + ["test"] * 10)
    found = _data(tmp_path, declared, split={"kind": "declared", "by": "part"})
    assert found.rows["test"].tolist() == list(range(50, 60))


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
    (None, {"target": ["answer", "answer"]}, "task.target: ['answer', 'answer'] is neither"),
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
    (None, {"bins": -1}, "task.bins: -1 is not a whole number from 0 to 256"),
    (None, {"bins": 1.5}, "task.bins: 1.5 is not"),
    (None, {"bins": True}, "task.bins: True is not"),
    (None, {"layers": []}, "task.layers: [] is not a list of widths of at least 1"),
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
    assert "reply (2)" in " ".join(_data(tmp_path, _leak(table()), allow_leaks=True).describe().facts)


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
    facts = " | ".join(data.describe().facts)
    assert "categories (levels): letter (3), gaps (2), flags (2), kinds (2)" in facts
    assert data.left_out["lists"] == data.left_out["mappings"] == "holds lists or mappings"


def test_one_column_to_ignore_needs_no_list(tmp_path: Path):
    assert _data(tmp_path, ignore="number").left_out["number"] == "asked to be ignored"


def test_numbers_among_words_are_told_of(tmp_path: Path):
    ages = [str(20 + i % 30) for i in range(40)] + ["19 years"] * 20
    (warning,) = _data(tmp_path, table().assign(age=ages), ignore=["day"]).describe().warnings
    assert warning.startswith("column 'age' is taken for categories, though 6")
