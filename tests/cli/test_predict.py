"""`lab predict`: tables in the form of the task, files written whole, and bad input in one line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.cli.main import main
from lab.cli.predict import as_arrays, harmless
from lab.errors import SpecError
from lab.stages.prediction_table import as_table
from lab.stages.predictor import Ensemble
from lab.study.study import Study
from tests.cli.test_bad_input import refuse
from tests.own_data import table, write_table


def test_classes_come_with_every_probability():
    frame = as_table(np.array([[0.2, 0.8], [0.6, 0.4]]), "classification", ("no", "yes"), ("a.png", "b.png"))
    assert frame.to_dict("list") == {
        "name": ["a.png", "b.png"],
        "class": ["yes", "no"],
        "p_no": [0.2, 0.6],
        "p_yes": [0.8, 0.4],
    }
    assert as_table(np.array([[0.2, 0.8]]), "classification", ()).to_dict("list") == {
        "class": ["1"],
        "p_0": [0.2],
        "p_1": [0.8],
    }


def test_probabilities_of_parts_are_arrays_of_their_shape_and_refused_as_a_table():
    probabilities = np.random.default_rng(0).random((2, 3, 4))
    with np.load(io.BytesIO(as_arrays(probabilities, "classification", ("a", "b")))) as arrays:
        np.testing.assert_array_equal(arrays["probabilities"], probabilities)
        assert arrays["names"].tolist() == ["a", "b"]
    with np.load(io.BytesIO(as_arrays(probabilities, "regression"))) as arrays:
        assert arrays.files == ["values"]
    with pytest.raises(
        SpecError, match=r"^--output: each part of an input has a class here; write the prob.* FILE.npz$"
    ):
        as_table(probabilities, "classification", ())
    assert as_table(probabilities > 0.5, "multilabel", ()).shape == (2, 13)


def test_labels_are_those_more_likely_than_not():
    frame = as_table(np.array([[0.9, 0.6, 0.1], [0.1, 0.5, 0.2]]), "multilabel", ("sun", "sea", "sky"))
    assert list(frame.columns) == ["labels", "p_sun", "p_sea", "p_sky"]
    assert frame["labels"].tolist() == ["sun sea", ""]


def test_where_a_probability_is_no_number_nothing_is_chosen():
    flat = np.array([[0.2, 0.8], [np.nan, np.nan], [np.inf, 0.0], [0.9, 0.1]])
    assert as_table(flat, "classification", ("no", "yes"))["class"].tolist() == ["yes", "", "", "no"]
    assert as_table(flat, "multilabel", ("sun", "sea"))["labels"].tolist() == ["sea", "", "", "sun"]


def test_texts_that_a_spreadsheet_takes_for_formulas_are_quoted_and_counted():
    names = ('=HYPERLINK("http://x")', "-5", "@me", "plain")
    frame, count = harmless(as_table(np.eye(4), "classification", names, ("+a.png", "-1", "a=b.png", "\tc.png")))
    assert frame["class"].tolist() == ["'" + names[0], "-5", "'@me", "plain"]
    assert frame["name"].tolist() == ["'+a.png", "-1", "a=b.png", "'\tc.png"]
    assert list(frame.columns)[2:] == [f"p_{name}" for name in names]
    assert count == 4
    values = as_table(np.array([[-1.5], [2.0]]), "regression", ("=cost",))
    frame, count = harmless(values)
    assert frame.to_dict("list") == {"'=cost": [-1.5, 2.0]}
    assert count == 1


@pytest.mark.parametrize(
    ("shape", "names", "columns"),
    [
        ((3, 1), ("price",), ["price"]),
        ((3, 2), ("a", "b"), ["a", "b"]),
        ((3,), (), ["value0"]),
        ((3, 2, 2), ("a",), ["value0", "value1", "value2", "value3"]),
    ],
)
def test_values_are_called_as_their_targets(shape: tuple[int, ...], names: tuple[str, ...], columns: list[str]):
    values = np.arange(float(np.prod(shape))).reshape(shape)
    frame = as_table(values, "regression", names)
    assert list(frame.columns) == columns
    np.testing.assert_array_equal(frame.to_numpy(), values.reshape(3, -1))


def test_the_output_is_a_file_or_standard_output(
    table_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    new = write_table(tmp_path / "new.csv", table(3, seed=4))
    command = ["lab", "predict", str(table_study.record.folder), "--input", str(new)]
    printed = []
    for more in ([], ["--output", str(tmp_path / "deep" / "out.csv")]):
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        printed.append(capsys.readouterr())
    assert printed[1].out == ""
    assert (tmp_path / "deep" / "out.csv").read_text() == printed[0].out
    assert printed[0].err == printed[1].err
    assert printed[0].err.splitlines()[-1].startswith(f"{new}: accuracy ")
    assert printed[0].err.splitlines()[-1].endswith(" on 3 examples")


def _predicted(
    folder: Path, new: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[pd.DataFrame, list[str]]:
    monkeypatch.setattr("sys.argv", ["lab", "predict", str(folder), "--input", str(new)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    return pd.read_csv(io.StringIO(captured.out), keep_default_na=False), captured.err.splitlines()


def test_rows_whose_prediction_is_no_number_are_counted_and_not_scored(
    table_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    predict = Ensemble.predict

    def broken(self: Ensemble, x: Any) -> torch.Tensor:
        probabilities = predict(self, x)
        probabilities[1] = torch.nan
        return probabilities

    monkeypatch.setattr(Ensemble, "predict", broken)
    new = write_table(tmp_path / "new.csv", table(3, seed=4))
    predicted, said = _predicted(table_study.record.folder, new, capsys, monkeypatch)
    assert predicted["class"][1] == ""
    assert set(predicted["class"][[0, 2]]) <= {"no", "yes"}
    assert said[-1] == (
        f"{new}: warning: 1 of 3 rows have predictions that are no finite numbers; nothing is chosen for them and "
        "nothing scored"
    )
    assert not any("accuracy" in line for line in said)


def test_texts_of_a_file_that_begin_as_formulas_are_written_quoted_and_told(
    table_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Ensemble, "class_names", ("=1+1", "yes"))
    new = write_table(tmp_path / "new.csv", table(40, seed=4).drop(columns="answer"))
    predicted, said = _predicted(table_study.record.folder, new, capsys, monkeypatch)
    assert set(predicted["class"]) == {"'=1+1", "yes"}
    count = int((predicted["class"] == "'=1+1").sum())
    assert said == [f"{new}: {count} texts begin as a spreadsheet's formula does; an apostrophe stands before each"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "new.csv: does not exist"),
        (b"", "new.csv: cannot be read"),
        (b"number,letter\n", "new.csv: has no rows"),
        (b"a,b\n1,2\n", "new.csv: has none of the 3 columns that were learned from; it lacks day, letter, number"),
        (b"number,letter\nmuch,x\n", "column 'number': row 1 holds 'much', which is no number"),
        (b"number;letter\n1;x\n", "new.csv: its columns are separated by ';'"),
        (b"number,number\n1,2\n", "new.csv: has column 'number' twice"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    content: bytes | None,
    message: str,
    table_study: Study,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    if content is not None:
        (tmp_path / "new.csv").write_bytes(content)
    command = ("predict", table_study.record.folder, "--input", tmp_path / "new.csv", "--output", tmp_path / "out.csv")
    assert message in refuse(capsys, monkeypatch, *command)
    assert not (tmp_path / "out.csv").exists()


def test_odd_rows_are_predicted_all_the_same(
    table_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    frame = pd.DataFrame(
        {
            "number": ["1e308", "-inf", None, "0"],
            "letter": [None, "猫", "x", "x"],
            "day": ["yesterday", None, "2024-13-45", "2031-01-01"],
            "more": 1,
        }
    )
    monkeypatch.setattr(
        "sys.argv",
        ["lab", "predict", str(table_study.record.folder), "--input", str(write_table(tmp_path / "odd.csv", frame))],
    )
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    predicted = pd.read_csv(pd.io.common.StringIO(captured.out))
    assert len(predicted) == 4
    assert predicted[["p_no", "p_yes"]].to_numpy().min() >= 0
    assert "column 'number': 1 rows hold infinite numbers; they are treated as missing" in captured.err
    assert "column 'letter': 1 rows hold values not seen in training (such as '猫')" in captured.err
    assert "column 'day': 2 rows hold dates that cannot be read as ISO8601; they are treated as missing" in captured.err
