"""Texts of tables and folders: read, split, described, and refused in a line where nothing can be learned of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import LabError
from lab.spec.plan import TaskRef
from lab.tasks.load import describe
from lab.tasks.text.corpus import Corpus, Fitted
from lab.tasks.text.options import TextOptions
from tests.own_data import reviews, write_texts


def _corpus(path: Path, **options: Any) -> Corpus:
    return Corpus(TextOptions(str(path), **options))


def _write_folder(root: Path, frame: pd.DataFrame) -> Path:
    for number, (text, label) in enumerate(zip(frame["text"], frame["label"], strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{number:03}.txt").write_text(text)
    return root


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_is_split_by_class(suffix: str, tmp_path: Path):
    corpus = _corpus(write_texts(tmp_path / f"t.{suffix}"))
    assert corpus.target.class_names == ("bad", "good")
    assert [len(corpus.rows[split]) for split in ("train", "valid", "test")] == [54, 18, 18]
    assert [np.bincount(corpus.labels(split)).tolist() for split in corpus.rows] == [[27, 27], [9, 9], [9, 9]]
    texts = reviews()["text"].tolist()
    assert corpus.texts("valid") == [texts[row] for row in corpus.rows["valid"]]


def test_texts_to_validate_and_test_on_may_lie_apart(tmp_path: Path):
    main, other = write_texts(tmp_path / "a.csv"), write_texts(tmp_path / "b.csv", reviews(20, seed=1))
    both = _corpus(main, valid_path=str(other), test_path=str(other))
    assert [len(both.rows[split]) for split in ("train", "valid", "test")] == [90, 20, 20]
    validated = _corpus(main, valid_path=str(other))
    assert [len(validated.rows[split]) for split in ("train", "valid", "test")] == [72, 20, 18]
    assert not {*validated.rows["train"].tolist()} & {*validated.rows["test"].tolist()}
    tested = _corpus(main, test_path=str(other), split={"kind": "random", "folds": 3})
    assert [len(tested.rows[split]) for split in ("train", "valid", "test")] == [60, 30, 20]
    assert tested.folds is not None
    assert np.bincount(tested.folds).tolist() == [30, 30, 30]
    with pytest.raises(LabError, match=r"task\.split\.folds: 3 folds are not possible beside texts to validate on"):
        _ = _corpus(main, valid_path=str(other), split={"kind": "random", "folds": 3}).folds


def test_a_folder_per_class_is_a_table(tmp_path: Path):
    frame = reviews()
    whole = _corpus(_write_folder(tmp_path / "whole", frame))
    assert whole.target.class_names == ("bad", "good")
    assert [len(rows) for rows in whole.rows.values()] == [54, 18, 18]
    for split, part in (("train", frame[:60]), ("test", frame[60:])):
        _write_folder(tmp_path / "parted" / split, part)
    beside = write_texts(tmp_path / "valid.csv", reviews(20, seed=1).rename(columns={"text": "words"}))
    both = _corpus(tmp_path / "whole", text="words", valid_path=str(beside))
    assert [len(both.rows[split]) for split in ("train", "valid", "test")] == [72, 20, 18]
    assert both.texts("valid")[0].startswith("It is")
    with pytest.raises(LabError, match=r"task\.target: .*whole: a folder per class says one target; got \['a', 'b'\]$"):
        _corpus(tmp_path / "whole", target=["a", "b"]).describe()
    parted = _corpus(tmp_path / "parted")
    assert [len(parted.rows[split]) for split in ("train", "valid", "test")] == [48, 12, 30]
    assert sorted(parted.texts("test")) == sorted(frame["text"][60:])


def test_several_columns_of_0_and_1_are_labels(tmp_path: Path):
    frame = reviews()
    frame["warm"], frame["short"] = frame["text"].str.contains("warm") * 1, (frame["text"].str.len() < 40) * 1
    corpus = _corpus(write_texts(tmp_path / "t.csv", frame), target=["warm", "short"])
    assert (corpus.target.kind, corpus.target.class_names) == ("multilabel", ("warm", "short"))
    assert corpus.labels("train").shape == (54, 2)


def test_where_texts_are_cut_follows_from_them(tmp_path: Path):
    frame = reviews(200)
    frame.loc[0, "text"] = "film " * 1000
    corpus = _corpus(write_texts(tmp_path / "t.csv", frame))
    lengths = [len(text.split()) for text in corpus.texts("train")]
    assert corpus.fitted.length == sorted(lengths)[-2] < 1000
    assert _corpus(tmp_path / "t.csv", max_tokens=3).fitted.length == 3
    kept = Fitted.load(corpus.fitted.dump())
    assert kept == corpus.fitted
    assert corpus.codes("train", kept).shape == (120, kept.length)


def test_words_that_stand_for_no_value_are_words_in_a_text(tmp_path: Path):
    frame = reviews()
    frame.loc[:9, "text"] = "None"
    corpus = _corpus(write_texts(tmp_path / "t.csv", frame))
    assert sum(corpus.texts(split).count("None") for split in corpus.rows) == 10


def test_what_is_doubtful_is_said(tmp_path: Path):
    frame = reviews(100)
    frame.loc[:19, "text"] = ""
    frame.loc[20:39, "text"] = "one and the same film film"
    said = _corpus(write_texts(tmp_path / "t.csv", frame)).describe()
    facts, doubts = "\n".join(said.facts), "\n".join(said.warnings)
    assert "classes (2): bad, good" in facts
    assert "texts 60 train, 20 valid, 20 test (split: stratified)" in facts
    assert "always saying bad scores accuracy 0.5" in facts
    assert "train texts are empty; the net sees nothing of them" in doubts
    assert "valid texts are training texts too; scores are flattered" in doubts
    assert "training texts stand there several times with different label" in doubts


def _frame(**columns: Any) -> pd.DataFrame:
    return reviews().assign(**columns)


@pytest.mark.parametrize(
    ("frame", "options", "line"),
    [
        (_frame(text=""), {}, r"all training texts are empty$"),
        (_frame(label="good"), {}, r"target 'label': is constant \(good\); there is nothing to learn$"),
        (_frame(), {"text": "txt"}, r"task\.text: there is no column 'txt' \(did you mean 'text'\?\)"),
        (_frame(), {"target": "lable"}, r"task\.target: there is no column 'lable' \(did you mean 'label'\?\)"),
        (_frame(), {"text": "label"}, r"task\.text: 'label' is the target as well$"),
        (_frame(), {"target": ["label", "label"]}, r"task\.target: .* names a column twice$"),
        (_frame(label=range(90)), {}, r"target 'label': 90 classes in 90 training rows are more than half"),
        (_frame(text=[f"w{n}" for n in range(90)]), {}, r"no two different tokens that repeat; is it the column of t"),
        (_frame(), {"max_tokens": 0}, r"task\.max_tokens: 0 is not a whole number from 1 to 8192$"),
        (
            _frame(),
            {"model": "lstm"},
            r"task\.model: 'lstm' is unknown; choices: bag, cnn, transformer, awd_lstm, hf:NAME, or hf: with",
        ),
        (_frame(), {"model": "transformer", "width": 6}, r"task\.width: 6 does not divide into task\.heads: 4$"),
        (_frame(), {"tokenizer": "no.json"}, r"no\.json: cannot be read"),
        (_frame(), {"valid_path": "no.csv"}, r"no\.csv: does not exist$"),
        (_frame(), {"metric": "rmse"}, r"task\.metric: 'rmse' is not for a target of classification"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_a_line(
    frame: pd.DataFrame, options: dict[str, Any], line: str, tmp_path: Path
):
    path = write_texts(tmp_path / "t.csv", frame)
    with pytest.raises(LabError, match=line) as refused:
        _corpus(path, **options).describe()
    assert "\n" not in str(refused.value)


def test_folders_without_texts_are_refused(tmp_path: Path):
    (tmp_path / "empty" / "good").mkdir(parents=True)
    with pytest.raises(LabError, match=r"empty: has no \.txt files in a folder per class$"):
        _corpus(tmp_path / "empty").describe()
    folder = _write_folder(tmp_path / "tested" / "test", reviews())
    with pytest.raises(LabError, match=r"tested: has a folder 'test' and none that is called 'train'$"):
        _corpus(folder.parent).describe()
    foreign = _write_folder(tmp_path / "foreign", reviews())
    (foreign / "bad" / "x.txt").write_bytes("käse".encode("cp1252"))
    with pytest.raises(LabError, match=r"bad/x\.txt: is not UTF-8 at byte 1; save it as UTF-8$"):
        _corpus(foreign).describe()


def test_what_was_fitted_is_read_defensively():
    with pytest.raises(LabError, match=r"what was fitted to the texts is damaged \('target'\)"):
        Fitted.load({})


@pytest.mark.parametrize("kind", ["text", "language_model"])
def test_rows_without_a_target_are_counted_file_by_file(kind: str, tmp_path: Path):
    lacking = reviews().assign(label=lambda f: f["label"].where(f.index % 9 != 0, "NA"))
    main, other = write_texts(tmp_path / "a.csv", lacking), write_texts(tmp_path / "b.csv", reviews(20, seed=1))
    options = {"path": str(main), "test_path": str(other), "target": "label"}
    said = describe(TaskRef(kind, options)).warnings
    assert (
        "10 of 90 rows of a.csv have no label and are left out ('NA' 10 times; if that is a class of its own, list "
        "what is missing in task.missing)"
    ) in said
    assert not [line for line in said if "b.csv" in line]
    parquet = write_texts(tmp_path / "c.parquet", lacking.replace({"label": {"NA": None}}))
    said = describe(TaskRef(kind, {**options, "path": str(parquet)})).warnings
    assert "10 of 90 rows of c.parquet have no label and are left out" in said
    assert not [
        line for line in describe(TaskRef(kind, {**options, "path": str(other)})).warnings if "left out" in line
    ]
