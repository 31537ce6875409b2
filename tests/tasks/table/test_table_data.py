"""A table made ready: what is learned comes from its training rows alone, and what is doubtful is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import SpecError, TaskError
from lab.tasks.table.columns import Category, Number
from lab.tasks.table.describe import describe_data
from lab.tasks.table.fitted import Fitted
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData
from lab.tasks.table.values import typed_frame
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
    changed = data.main.frame()
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


@pytest.mark.parametrize("answers", [["no", "yes"], [0, 1], [True, False], [1.5, 2.5]])
def test_rows_without_a_target_are_left_out_and_counted(answers: list[Any], tmp_path: Path):
    whole = table().assign(answer=answers * 30)
    gaps = whole.astype({"answer": object})
    gaps.loc[[1, 2, 30], "answer"] = None
    data = _data(tmp_path, gaps, ignore=["day"])
    (tmp_path / "whole").mkdir()
    alone = _data(tmp_path / "whole", whole.drop(index=[1, 2, 30]), ignore=["day"])
    assert describe_data(data).warnings == ("3 of 60 rows of table.parquet have no answer and are left out",)
    assert data.fitted == alone.fitted
    np.testing.assert_array_equal(data.targets("train"), alone.targets("train"))


def test_test_rows_may_come_from_another_file(tmp_path: Path):
    test = write_table(tmp_path / "test.csv", table(20, seed=1).assign(more=1))
    data = _data(tmp_path, test_path=str(test))
    assert {split: len(rows) for split, rows in data.rows.items()} == {"train": 48, "valid": 12, "test": 20}
    pd.testing.assert_frame_equal(typed_frame(data.part("test").frame()), table(20, seed=1))
    lacking = write_table(tmp_path / "lacking.csv", table(20, seed=1).drop(columns="letter"))
    with pytest.raises(TaskError, match=r"lacking\.csv: lacks column 'letter'"):
        describe_data(_data(tmp_path, test_path=str(lacking)))
    empty = write_table(tmp_path / "empty.csv", table(20, seed=1).assign(answer=None))
    with pytest.raises(TaskError, match=r"target 'answer': row 1 has none \(20 rows in all\)"):
        describe_data(_data(tmp_path, test_path=str(empty)))


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
    data = _data(tmp_path, declared, split={"kind": "declared", "by": "part"})
    assert data.rows["test"].tolist() == list(range(50, 60))


def test_folds_part_the_rows_of_train_and_valid_and_keep_groups_together(tmp_path: Path):
    groups = table().assign(person=np.arange(60) // 3)
    data = _data(tmp_path, groups, split={"kind": "grouped", "by": "person", "folds": 4})
    assert data.folds is not None
    both = pd.concat([data.part("train").frame(), data.part("valid").frame()])
    people = [set(both["person"][data.folds == fold]) for fold in range(4)]
    assert [len(of_fold) for of_fold in people] == [4, 4, 4, 4]
    assert len(set.union(*people)) == 16
    assert people[0] == set(data.part("valid")["person"])
    assert _data(tmp_path).folds is None
    description = describe_data(data)
    assert description.folds == 4
    assert (
        "folds of train and valid: 12, 12, 12, 12 rows; confirmation and final models leave out one each"
        in "\n".join(description.facts)
    )
    with pytest.raises(SpecError, match=r"^task.split.folds: 40 is above the 16 groups of train and valid"):
        _ = _data(tmp_path, groups, split={"kind": "grouped", "by": "person", "folds": 40}).folds


def test_one_column_to_ignore_needs_no_list(tmp_path: Path):
    assert _data(tmp_path, ignore="number").left_out["number"] == "asked to be ignored"


def _rare(seed: int = 0) -> pd.DataFrame:
    """Two hundred rows, of which four have a label that a random split often keeps from training."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 3))
    frame = pd.DataFrame(x, columns=list("abc")).assign(l1=(x[:, 0] > 0) * 1, l2=(x[:, 1] > 1) * 1, rare=0)
    frame.loc[random.choice(200, 4, replace=False), "rare"] = 1
    return frame


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_rare_label_is_spread_over_the_splits(kind: str, tmp_path: Path):
    path = str(write_table(tmp_path / f"t.{kind}", _rare()))
    for seed in range(10):
        data = TableData(TableOptions(path, ["l1", "l2", "rare"], split={"seed": seed}))
        assert [int(data.targets(split)[:, 2].sum()) for split in ("train", "valid", "test")] == [2, 1, 1]
    description = describe_data(data)
    assert "(split: stratified)" in description.facts[1]
    assert description.warnings == ("train has few examples of label rare (2); scores say little of them",)


def test_a_label_that_training_rows_lack_is_named_with_what_to_do(tmp_path: Path):
    path = str(write_table(tmp_path / "t.csv", _rare()))
    for seed in range(300):
        rows = TableData(TableOptions(path, ["l1", "l2", "rare"], split={"kind": "random", "seed": seed}))
        if not rows.part("train")["rare"].eq("1").any():
            break
    with pytest.raises(TaskError) as caught:
        _ = rows.fitted
    assert str(caught.value) == (
        "target 'rare': 1 is in none of the 120 training rows and in 4 of all 200; say another task.split.seed or "
        "split kind 'stratified'"
    )


def test_a_class_that_training_rows_lack_is_named_with_what_to_do(tmp_path: Path):
    frame = table().assign(answer=["a", "b"] * 28 + ["late"] * 4)
    with pytest.raises(TaskError) as caught:
        _ = _data(tmp_path, frame, split={"kind": "time", "by": "day"}).fitted
    assert str(caught.value) == (
        "target 'answer': late is in none of the 36 training rows and in 4 of all 60; split the rows in another way"
    )


def test_a_label_that_no_row_has_is_left_out_of_several(tmp_path: Path):
    data = _data(tmp_path, _rare().assign(rare=0), target=["l1", "rare", "l2"])
    assert data.fitted.target.class_names == ("l1", "l2")
    assert data.targets("test").shape == (40, 2)
    assert [column.name for column in data.fitted.columns] == ["a", "b", "c"], "nor is it learned from"
    description = describe_data(data)
    assert "left out rare: is a label with one value only" in description.facts
    assert description.warnings == ("labels with one value only are left out, and never predicted: 'rare' (0)",)


def test_where_fewer_than_two_labels_are_left_a_constant_one_is_refused(tmp_path: Path):
    with pytest.raises(TaskError, match=r"target 'rare': is constant \(0\); there is nothing to learn"):
        _ = _data(tmp_path, _rare().assign(rare=0), target=["l1", "rare"]).fitted
