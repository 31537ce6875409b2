"""Images as the rows of a table, with targets of one kind and of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lab.errors import LabError, SpecError, TaskError
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.images.task import Images
from lab.tasks.task import TRAIN_AND_VALID
from lab.training.equivalence import check_path
from tests.own_data import encoded, pixels
from tests.tasks.images.fake_timm import install

TARGET = ["label", "x"]


def _frame(n: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "image": [f"files/{i}.png" for i in range(n)],
            "label": ["dark", "bright"] * (n // 2),
            "x": random.normal(50, 10, n).round(3),
            "y": random.normal(size=n).round(3),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for i, array in enumerate(pixels(60)):
        Image.fromarray(array).save(tmp_path / "files" / f"{i}.png")
    _frame().to_csv(tmp_path / "boxes.csv", index=False)
    return tmp_path


def _images(folder: Path, **options: Any) -> Images:
    return Images(str(folder / "boxes.csv"), **options)


@pytest.mark.parametrize(
    ("options", "kind", "metric", "names"),
    [
        ({}, "classification", "accuracy", ("bright", "dark")),
        ({"target": ["x", "y"]}, "regression", "rmse", ("x", "y")),
        ({"target": TARGET, "shift": 1}, "regression", "accuracy_label", ("label_bright", "label_dark", "x")),
        (
            {"target": TARGET, "primary": "x", "metric": "mae"},
            "regression",
            "mae_x",
            ("label_bright", "label_dark", "x"),
        ),
    ],
)
def test_columns_of_every_kind_keep_the_contract(
    folder: Path, options: dict[str, Any], kind: str, metric: str, names: tuple[str, ...]
) -> None:
    task = _images(folder, **options)
    assert (task.kind, task.metric, task.class_names) == (kind, metric, names)
    assert [f"{f.name}: {f.said}" for f in contract_suite(task, {}) if not f.passed] == []
    assert [baseline.name for baseline in task.baselines(0)][1:]


def test_values_begin_at_their_mean_and_are_scaled_by_training_rows(folder: Path) -> None:
    task = _images(folder, target=TARGET)
    x, y = task.data("train")
    learned = task.fitted()["target"]["parts"][1]
    assert learned["mean"] == pytest.approx([y[:, 1].double().mean().item()])
    assert learned["std"] == pytest.approx([y[:, 1].double().std(correction=0).item()])
    net = task.model({}).eval()
    with torch.no_grad():
        made = net(task.model_input(x))
    plain = net[0](task.model_input(x))
    torch.testing.assert_close(made[:, 2], plain[:, 2] * learned["std"][0] + learned["mean"][0])
    torch.testing.assert_close(made[:, :2], plain[:, :2])


def test_the_loss_is_the_weighted_mean_of_each(folder: Path) -> None:
    task = _images(folder, target=TARGET, target_weights={"x": 3.0})
    std = task.fitted()["target"]["parts"][1]["std"][0]
    output, y = torch.tensor([[1.0, 0.0, 50.0]]), torch.tensor([[1.0, 60.0]])
    entropy = torch.nn.functional.cross_entropy(output[:, :2], torch.tensor([1]))
    torch.testing.assert_close(task.loss(output, y), (entropy + 3 * (10 / std) ** 2)[None] / 4)
    x, target = task.data("train")
    draws = torch.from_numpy(task.draw(4, np.random.default_rng(0), {"primary_weight": 2.0}))[None]
    _, weighed = task.augment(task.model_input(x[:4])[None], target[:4][None], draws)
    assert weighed[0, 0].tolist() == [*target[0].tolist(), 2.0, 3.0]


def test_they_are_trained_as_one(folder: Path) -> None:
    task = _images(folder, target=TARGET)
    x, y = task.data("train")
    check_path("stacked", task, lambda seed: build_model(task, {}, seed), task.model_input(x[:4]), y[:4])


def test_a_parquet_holds_the_images_themselves(folder: Path) -> None:
    cells = [{"bytes": encoded(array), "path": f"{i}.png"} for i, array in enumerate(pixels(60))]
    _frame().assign(image=cells).to_parquet(folder / "boxes.parquet")
    task = Images(str(folder / "boxes.parquet"), target=TARGET)
    for split in TRAIN_AND_VALID:
        for made, same in zip(task.data(split), _images(folder, target=TARGET).data(split), strict=True):
            assert torch.equal(made, same)


def test_a_later_table_is_read_and_scored_where_it_can_be(folder: Path) -> None:
    task = _images(folder, target=TARGET)
    again = Images("/no/longer/there.csv", target=TARGET)
    again.restore(json.loads(json.dumps(task.fitted())))
    inputs = again.read(folder / "boxes.csv")
    assert inputs.y is not None
    assert inputs.y.tolist()[1] == [0.0, pytest.approx(_frame()["x"][1])]
    bare = _frame(6)[["image"]]
    bare.to_csv(folder / "bare.csv", index=False)
    inputs = again.read(folder / "bare.csv")
    assert (len(inputs.x), inputs.y, inputs.names[0]) == (6, None, "files/0.png")
    _frame(6).assign(label="dim").to_csv(folder / "other.csv", index=False)
    inputs = again.read(folder / "other.csv")
    assert inputs.y is None
    assert inputs.notes == ("is not scored: target 'label': class 'dim' is not in the training rows",)
    assert len(again.read(folder / "files").x) == 60


def test_rows_without_a_target_are_left_out_and_counted(folder: Path) -> None:
    frame = _frame()
    frame.loc[3, "x"] = None
    frame.to_csv(folder / "boxes.csv", index=False)
    task = _images(folder, target=TARGET)
    assert sum(len(rows) for rows in task._data.rows.values()) == 59
    assert "1 rows of the table have no target and are left out" in task.describe().warnings


def test_a_frozen_body_has_a_head_for_each_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    task = _images(folder, target=TARGET, model="timm:tiny", pretrained=True, train="head")
    assert [f.said for f in contract_suite(task, {}) if not f.passed] == []
    head = task.model({"hidden": 5})
    assert [name for name, _ in head.named_children()][-2:] == ["linear", "values"]
    whole = _images(folder, target=TARGET, model="timm:tiny", pretrained=True)
    assert whole.groups(whole.model({}))[-1][-1] == "head.linear.bias"


def test_what_is_mirrored_is_not_tried_where_numbers_may_be_places(folder: Path) -> None:
    assert "flip" in _images(folder).undecided
    assert "flip" not in _images(folder, target=TARGET).undecided
    warned = [line for line in _images(folder, target=TARGET, flip=True, shift=1).describe().warnings if "move" in line]
    assert warned == [
        "task.flip and task.shift move what is in an image, and the values of x stay as they are: leave it out where "
        "one of them is a place"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ["label", "z"]}, "task.target: there is no column 'z'; columns: image, label, x, y"),
        ({"target": ["label", "image"]}, "task.image: 'image' is the target as well"),
        (
            {"target": TARGET, "types": {"label": "number"}},
            "{}: column 'label': row 1 holds 'dark', which is no number",
        ),
        ({"target": TARGET, "types": {"y": "number"}}, "task.types: 'y' is no target; those are label, x"),
        ({"target": TARGET, "primary": "y"}, "task.primary: 'y' is no target; those are label, x"),
        ({"target": TARGET, "target_weights": {"y": 2}}, "task.target_weights: 'y' is no target; those are label, x"),
        ({"target": TARGET, "metric": "rmse"}, "task.metric: 'rmse' is not for a target of classification"),
        ({"target": TARGET, "mixup": 0.2}, "task.mixup: 0.2 is for a target of classes or labels"),
        ({"image": "picture"}, "task.image: there is no column 'picture'"),
        ({"class_names": ["a", "b"]}, "task.class_names: is for a source without names"),
        ({"test_path": "x.npz"}, "task.test_path: x.npz: one of it and task.path is a table"),
        (
            {"from_study": "runs/heads", "model": "timm:tiny", "target": TARGET},
            "task.from_study: is not for images in a table, as {} is one",
        ),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError) as caught:
        _images(folder, **options).describe()
    assert str(caught.value).startswith(message.format(folder / "boxes.csv"))
    assert "\n" not in str(caught.value)


def test_a_layout_without_columns_has_no_targets(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"^task\.target: \['label', 'x'\] is a column, and task\.path .* is no table$"):
        Images(str(folder / "files"), target=TARGET)


def test_what_a_trial_mixes_is_refused_beside_values(folder: Path) -> None:
    task = _images(folder, target=TARGET)
    with pytest.raises(TaskError, match=r"mixup: 0\.3 is for a target of classes or labels; this one's are values"):
        task.draw(4, np.random.default_rng(0), {"mixup": 0.3})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame().assign(x=1.0), "target 'x': is constant (1.0); there is nothing to learn"),
        (_frame().assign(image=None), "column 'image': row 1 holds no image, and no path of one"),
        (_frame().assign(image=7), "none of 60 images can be read (7, ...)"),
        (_frame().assign(image="gone.png"), "none of 60 images can be read (gone.png, ...)"),
        (_frame().iloc[:0], "has no rows"),
        (_frame().iloc[:1], "is constant"),
        (_frame().drop(columns="image"), "task.image: is missing, and the table has no column image or img"),
    ],
)
def test_a_table_that_is_none_of_images_is_refused(folder: Path, frame: pd.DataFrame, message: str) -> None:
    frame.to_csv(folder / "boxes.csv", index=False)
    with pytest.raises(LabError) as caught:
        _images(folder, target=TARGET).describe()
    assert message in str(caught.value)
