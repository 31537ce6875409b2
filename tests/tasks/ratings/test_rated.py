"""Ratings made ready: codes by what is written, splits, and what is doubtful."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import LabError, SpecError, TaskError
from lab.tasks.ratings.options import RatingsOptions
from lab.tasks.ratings.rated import Fitted, Rated, describe, unrated
from tests.own_data import rated_pairs, write_ratings


def _rated(tmp_path: Path, rows: pd.DataFrame | None = None, **options: Any) -> Rated:
    path = write_ratings(tmp_path / "ratings.csv", rated_pairs() if rows is None else rows)
    return Rated(RatingsOptions(str(path), **options))


def test_codes_say_who_and_what(tmp_path: Path):
    data = _rated(tmp_path)
    for split in ("train", "valid", "test"):
        codes, part = data.codes(split, data.fitted), data.part(split)
        names = ["", *data.fitted.users], ["", *data.fitted.items]
        assert [names[0][c] for c in codes[:, 0]] == part["user"].tolist()
        assert [names[1][c] for c in codes[:, 1]] == part["item"].astype(str).tolist()
        np.testing.assert_array_equal(data.ratings(split)[:, 0], part["rating"].astype(float))
    assert data.fitted.items[:2] == ("00", "01"), "zeros before numbers stay"


def test_what_was_fitted_is_that_of_training_and_comes_back_from_json(tmp_path: Path):
    data = _rated(tmp_path)
    train = data.part("train")["rating"].astype(float)
    assert (data.fitted.mean, data.fitted.std) == (pytest.approx(train.mean()), pytest.approx(train.std(ddof=0)))
    again = Fitted.load(json.loads(json.dumps(data.fitted.dump())))
    assert again == data.fitted
    assert sorted(map(tuple, again.pairs())) == sorted(map(tuple, data.codes("train", data.fitted)))


@pytest.mark.parametrize("damage", [{"users": 3}, {"rated": "no base64!"}, {"rated": "AAAA"}, {"more": 1}])
def test_damaged_statistics_are_refused_in_a_line(damage: dict[str, Any], tmp_path: Path):
    with pytest.raises(TaskError, match=r"^what was fitted to the ratings is damaged \("):
        Fitted.load({**_rated(tmp_path).fitted.dump(), **damage}).pairs()


def test_what_is_not_rated_in_training_is_what_is_left_of_the_items(tmp_path: Path):
    data = _rated(tmp_path)
    trained_on = {tuple(pair) for pair in data.codes("train", data.fitted).tolist()}
    for user, pairs in enumerate(unrated(data.fitted, np.arange(1, 1 + len(data.fitted.users))), start=1):
        assert {tuple(pair) for pair in pairs.tolist()} == {
            (user, item) for item in range(1, 1 + len(data.fitted.items)) if (user, item) not in trained_on
        }
    (of_nobody,) = unrated(data.fitted, np.array([0]))
    assert of_nobody[:, 1].tolist() == [*range(1, 1 + len(data.fitted.items))]


def test_splits_may_be_by_time_and_by_user(tmp_path: Path):
    by_time = _rated(tmp_path, split={"kind": "time", "by": "time"})
    assert by_time.part("train")["time"].astype(int).max() <= by_time.part("test")["time"].astype(int).min()
    by_user = _rated(tmp_path, split={"kind": "grouped", "by": "user"})
    assert not {*by_user.part("train")["user"]} & {*by_user.part("test")["user"]}
    assert (by_user.codes("test", by_user.fitted)[:, 0] == 0).all()
    apart = _rated(tmp_path, test_path=str(write_ratings(tmp_path / "test.csv", rated_pairs(2, 2))))
    assert len(apart.part("test")) == len(rated_pairs(2, 2))
    assert len(apart.part("train")) + len(apart.part("valid")) == len(rated_pairs())


def test_what_is_doubtful_is_told(tmp_path: Path):
    rows = rated_pairs()
    again = rows.iloc[:3].assign(rating=[1, 1, 1])
    description = describe({"path": str(write_ratings(tmp_path / "x.csv", pd.concat([rows, again])))})
    different = int((rows.iloc[:3]["rating"] != 1).sum())
    assert any(
        w.startswith(f"3 pairs are rated several times, {different} of them with dif") for w in description.warnings
    )
    by_user = {"path": str(write_ratings(tmp_path / "x.csv", rows)), "split": {"kind": "grouped", "by": "user"}}
    assert any("ratings are of users that training has not; these are taken" in w for w in describe(by_user).warnings)
    assert description.facts[0].startswith("12 users and 10 items in training, ")


@pytest.mark.parametrize(
    ("change", "options", "line"),
    [
        ({"rating": "good"}, {}, r"x\.csv: column 'rating': row 1 holds 'good', which is no number$"),
        ({"rating": None}, {}, r"x\.csv: column 'rating': row 1 is empty$"),
        ({"rating": "inf"}, {}, r"x\.csv: column 'rating': row 1 holds 'inf', which is no number$"),
        ({"rating": 3}, {}, r"x\.csv: column 'rating': all training ratings are 3$"),
        ({"user": "me"}, {}, r"x\.csv: column 'user' has one value only \('me'\) in training$"),
        ({"item": None}, {}, r"x\.csv: column 'item': row 1 is empty; leave such rows out$"),
        (
            {},
            {"user": "users"},
            r"^task\.user: there is no column 'users' \(did you mean 'user'\?\); columns: user, item",
        ),
        ({}, {"item": "user"}, r"^task\.item: 'user' is named twice among user, item and rating$"),
        (
            {},
            {"split": "stratified"},
            r"^task\.split\.kind: 'stratified' needs classes; use random, time, grouped or dec",
        ),
        ({}, {"metric": "accuracy"}, r"^task\.metric: 'accuracy' is not for a target of regression; choices: rmse"),
        ({}, {"model": "svd"}, r"^task\.model: 'svd' is unknown; choices: dot, net$"),
        ({}, {"factors": 0}, r"^task\.factors: 0 is not a whole number from 1 to 1024$"),
        ({}, {"split": {"kind": "time", "by": "when"}}, r"^task\.split\.by: there is no column 'when'"),
    ],
)
def test_bad_input_is_refused_in_a_line(change: dict[str, Any], options: dict[str, Any], line: str, tmp_path: Path):
    path = write_ratings(tmp_path / "x.csv", rated_pairs().assign(**change))
    with pytest.raises(LabError, match=line) as caught:
        describe({"path": str(path), **options})
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, (SpecError, TaskError))
