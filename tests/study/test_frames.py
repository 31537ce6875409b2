"""Studies of data that Python holds: frames in, frames out; texts and images as lists."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lab.cli.predict import harmless
from lab.errors import LabError, RecordError, SpecError, TaskError
from lab.stages.prediction_table import prediction_table, readable
from lab.stages.predictor import Ensemble
from lab.study.study import Study
from lab.tasks.images.task import Images
from lab.tasks.ratings.task import Ratings
from lab.tasks.table.from_frame import write_frame
from lab.tasks.table.task import Table
from lab.tasks.text.task import Text
from tests.own_data import (
    pixels,
    reviews,
    table,
    write_folders,
    write_ratings,
    write_table,
    write_texts,
)
from tests.own_studies import SPACE


def _study(frame: pd.DataFrame, folder: Path, **options: Any) -> Study:
    return Study(
        Table(frame, target="answer", layers=[16], ignore=["day"], **options),
        SPACE,
        name="frames",
        folder=folder,
        trials=2,
        epochs=2,
        batch_size=16,
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 2, "seeds": 1, "controls": "none"},
        bounds={"trial_seeds": 0},
        execution={"engine": "local", "lanes": 1, "width": 2, "path": "stacked"},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Interrupted after its search, and gone on with from its folder alone."""
    folder = tmp_path_factory.mktemp("frames") / "run"
    _study(table(160), folder).run(until="explore")
    gc.collect()  # the frame is gone, and its file with it
    study = Study.open(folder)
    study.run()
    return study


def test_a_study_keeps_its_frame_and_goes_on_from_it(finished: Study) -> None:
    kept = finished.record.folder / "table.parquet"
    assert finished.spec.task.options["path"] == str(kept.resolve())
    pd.testing.assert_frame_equal(pd.read_parquet(kept), table(160), check_dtype=False)
    assert finished.result.artefact("ensemble")["test_examples"] > 0


def test_a_frame_gives_a_frame_that_says_what_the_command_says(finished: Study, tmp_path: Path) -> None:
    ensemble = finished.result.ensemble
    new = table(12, seed=3)
    new.index = pd.Index(range(100, 112))
    said = ensemble.predict(new)
    assert list(said.index) == list(new.index)
    assert list(said.columns) == ["class", *(f"p_{name}" for name in ensemble.class_names)]
    inputs = ensemble.read(write_table(tmp_path / "new.parquet", new))
    printed, _ = harmless(prediction_table(*readable(ensemble.predict(inputs.x), ensemble, inputs), ensemble, inputs))
    pd.testing.assert_frame_equal(said.reset_index(drop=True), printed)
    probabilities = ensemble.predict_proba(new)
    np.testing.assert_array_equal(probabilities, said.iloc[:, 1:].to_numpy())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(ensemble.predict_proba(inputs.x), probabilities)


def test_a_frame_without_the_columns_is_refused_by_its_own_name(finished: Study) -> None:
    ensemble = finished.result.ensemble
    with pytest.raises(TaskError, match="the DataFrame: has none of the 2 columns"):
        ensemble.predict(pd.DataFrame({"other": [1]}))
    with pytest.raises(TaskError, match="a list is no table"):
        ensemble.predict(["a text"])


def test_what_is_refused_leaves_the_ensemble_as_it_was(finished: Study) -> None:
    ensemble, new = finished.result.ensemble, table(5, seed=3)
    before = ensemble.predict_proba(new)
    for wrong in (new["number"], new.iloc[0], {"number": np.ones(3), "letter": np.ones(3)}, new.to_numpy(), None):
        with pytest.raises(TaskError, match=r"^predict: .* is no inputs \[n, \.\.\.\]; give"):
            ensemble.predict(wrong)
    np.testing.assert_array_equal(ensemble.predict_proba(type("Sub", (pd.DataFrame,), {})(new)), before)


def test_another_frame_is_another_study(finished: Study) -> None:
    with pytest.raises(RecordError, match="holds another table than the one given"):
        _study(table(161), finished.record.folder).run()


def test_the_same_frame_goes_on(finished: Study) -> None:
    again = _study(table(160), finished.record.folder).run()
    assert again.summary.missing == ()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has column 'a' twice"),
        (pd.DataFrame({"answer": [1, "x", object()]}), "cannot be kept as a parquet"),
        (table(60).set_index(table(60)["answer"], drop=False), "has 'answer' as a column and as its index"),
        (table(60).head(0), "has no rows"),
    ],
)
def test_a_frame_that_no_file_holds_is_refused(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(TaskError, match=says):
        Table(frame, target="answer")


def test_what_no_file_holds_and_says_as_much_as_text_is_kept(tmp_path: Path) -> None:
    frame = table(60)
    frame["range"] = pd.cut(frame["number"], 3).where(frame.index > 0)
    frame.attrs["mine"] = object()
    write_frame(frame, tmp_path / "kept.parquet")
    kept = pd.read_parquet(tmp_path / "kept.parquet")["range"]
    assert kept.isna().tolist() == [True] + [False] * 59
    assert kept[1:].tolist() == [str(one) for one in frame["range"][1:]]
    assert "mine" in frame.attrs


def test_what_is_no_table_is_refused_as_before() -> None:
    with pytest.raises(SpecError, match=r"task\.path: 3 is not a path"):
        Table(3, target="answer")
    with pytest.raises(SpecError, match=r"task\.path: a Series is not a path; give a DataFrame, or a file$"):
        Table(table(60)["answer"], target="answer")


def test_a_frame_of_test_rows_is_kept_as_well(tmp_path: Path) -> None:
    study = _study(table(120), tmp_path / "run", test_path=table(40, seed=1))
    study.run(until="bounds")
    assert len(pd.read_parquet(tmp_path / "run" / "test_table.parquet")) == 40


def test_a_study_that_is_refused_leaves_no_frame_behind(tmp_path: Path) -> None:
    with pytest.raises(LabError):
        _study(table(4), tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


def _alike(task: Any, raw: Any, path: Path) -> None:
    """A task makes the same inputs of what Python holds as of the file that says the same."""
    accepted, read = task.accept(raw), task.read(path)
    np.testing.assert_array_equal(accepted.x.numpy(), read.x.numpy())


def test_texts_are_given_as_a_list_or_a_frame(tmp_path: Path) -> None:
    path = write_texts(tmp_path / "texts.csv")
    task = Text(str(path), text="text", target="label", model="bag")
    frame = reviews()
    texts = tmp_path / "some.txt"
    texts.write_text("\n".join(frame["text"][:5]))
    _alike(task, list(frame["text"][:5]), texts)
    _alike(task, frame, path)
    for strange, kind in ((3, "int"), (None, "NoneType")):
        with pytest.raises(TaskError, match=f"a {kind} is no text"):
            task.accept(["a", strange])
    half = "\ud800 lovely"  # as what is cut from JSON may be
    np.testing.assert_array_equal(task.accept([half]).x.numpy(), task.accept(["? lovely"]).x.numpy())


def test_images_are_given_as_those_of_pillow_or_as_paths(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "images", each=8)
    task = Images(str(folder))
    paths = sorted((folder / "bright").iterdir())
    _alike(task, [str(path) for path in paths], folder / "bright")
    _alike(task, [Image.open(path) for path in paths], folder / "bright")
    assert task.accept(paths[:2]).names == tuple(map(str, paths[:2]))
    with pytest.raises(TaskError, match=r"nowhere\.png: does not exist"):
        task.accept(["nowhere.png"])
    with pytest.raises(TaskError, match="a ndarray is no image"):
        task.accept([pixels()[0]])


def test_ratings_are_given_as_a_frame(tmp_path: Path) -> None:
    path = write_ratings(tmp_path / "ratings.csv")
    task = Ratings(str(path), user="user", item="item", rating="rating")
    _alike(task, pd.read_csv(path, dtype=str), path)


def test_numbers_made_ready_give_a_tensor_as_before(finished: Study) -> None:
    ensemble: Ensemble = finished.result.ensemble
    x = ensemble.test_data()[0]
    assert ensemble.predict(x).shape == (len(x), 2)
    assert ensemble.predict(x.numpy()).shape == (len(x), 2)


def test_a_path_of_pythons_is_a_path(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", table(60))
    task = Table(path, target="answer")
    assert task.options["path"] == str(path)
    assert Text(write_texts(tmp_path / "texts.csv"), text="text", target="label", model="bag").class_names
