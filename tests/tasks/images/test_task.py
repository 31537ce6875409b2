"""The task `images`: it keeps the contract, and reads later images as it read those it was trained on."""

from __future__ import annotations

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lab.errors import LabError, SpecError, TaskError
from lab.tasks.checks import contract_suite
from lab.tasks.images.task import Images
from tests.own_data import encoded, hub_images, pixels, write_folders, write_hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "x", each=20)


def _later(folder: Path, **options: Any) -> Images:
    """The task as a later process has it, which no longer has the training images."""
    task = Images(str(folder), **options)
    fitted = json.loads(json.dumps(task.fitted()))
    again = Images("/no/longer/there", **options)
    again.restore(fitted)
    return again


@pytest.mark.parametrize("options", [{}, {"shift": 2, "cutout": 3, "mixup": 0.2, "label_smoothing": 0.1}])
def test_it_keeps_the_contract(folder: Path, options: dict[str, Any]):
    broken = [f"{f.name}: {f.said}" for f in contract_suite(Images(str(folder), **options), {}) if not f.passed]
    assert broken == []


def test_several_labels_keep_it_too(tmp_path: Path):
    labels = [[0], [1], [0, 1], []] * 10
    path = write_hub(tmp_path / "a.parquet", {"image": hub_images(40), "label": labels}, ("sun", "sea"))
    task = Images(str(path), mixup=0.3, label_smoothing=0.1)
    assert (task.kind, task.metric, task.class_names) == ("multilabel", "micro_f1", ("sun", "sea"))
    assert [f.said for f in contract_suite(task, {}) if not f.passed] == []


def test_inputs_are_normalised_by_the_training_images(folder: Path):
    task = Images(str(folder))
    x = task.model_input(task.data("train")[0])
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    stacked = task.data("train")[0][:6].view(2, 3, 3, 8, 8)
    torch.testing.assert_close(task.model_input(stacked).flatten(0, 1), x[:6], rtol=0, atol=0)
    with pytest.raises(TaskError, match=r"images are given as uint8 pixels; got torch\.float32"):
        task.model_input(x)


def test_a_folder_of_classes_is_read_with_its_labels(folder: Path):
    task = _later(folder)
    inputs = task.read(folder)
    assert (len(inputs.x), inputs.notes) == (40, ())
    assert inputs.names[0] == "bright/00.png"
    assert inputs.y is not None
    assert inputs.y.tolist() == [0] * 20 + [1] * 20
    (folder / "bright").rename(folder.parent / "away")
    inputs = task.read(folder)
    assert inputs.y is not None
    assert inputs.y.tolist() == [1] * 20


def test_plain_images_are_read_without_labels(folder: Path, tmp_path: Path):
    task = _later(folder)
    assert task.read(folder / "dark").y is None
    one = task.read(folder / "dark" / "00.png")
    np.testing.assert_array_equal(one.x[0], np.asarray(Image.open(folder / "dark" / "00.png")).transpose(2, 0, 1))
    np.savez(tmp_path / "a.npz", x=pixels(3))
    inputs = task.read(tmp_path / "a.npz")
    assert (tuple(inputs.x.shape), inputs.y) == ((3, 3, 8, 8), None)
    assert torch.equal(task.prepare(pixels(3)), inputs.x)


def test_gray_images_of_another_size_are_brought_to_that_of_the_training_images(folder: Path, tmp_path: Path):
    (tmp_path / "new").mkdir()
    for i, shape in enumerate(((8, 8), (30, 20), (8, 9, 3))):
        (tmp_path / "new" / f"{i}.png").write_bytes(encoded(pixels(1, shape)[0]))
    assert _later(folder).read(tmp_path / "new").x.shape == (3, 3, 8, 8)


def test_what_was_not_read_or_not_scored_is_said(folder: Path, tmp_path: Path):
    task = _later(folder)
    (folder / "dark" / "05.png").write_bytes(b"no image")
    inputs = task.read(folder)
    assert inputs.notes == ("1 images cannot be read and are left out: dark/05.png",)
    assert len(inputs.x) == len(inputs.names) == 39
    assert inputs.y is not None
    assert int(inputs.y.sum()) == 19
    np.savez(tmp_path / "a.npz", x=pixels(3), y=np.array(["dark", "bright", "gray"]))
    inputs = task.read(tmp_path / "a.npz")
    assert (inputs.y, inputs.notes) == (None, ("is not scored: class 'gray' is not among those trained on",))


def test_folders_of_systems_beside_class_folders_hide_no_labels(folder: Path):
    task = _later(folder)
    (folder / "__MACOSX").mkdir()
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "dark" / "._00.png").write_bytes(b"")
    inputs = task.read(folder)
    assert len(inputs.x) == 40
    assert inputs.y is not None
    assert inputs.notes == ("passed over as files of systems and notebooks, which are hidden or in hidden folders: 1",)


def test_what_holds_no_images_is_refused(folder: Path, tmp_path: Path):
    task = _later(folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"x")
    for path, message in (
        (tmp_path / "gone", "gone: does not exist"),
        (tmp_path / "empty", "empty: holds no images"),
        (tmp_path / "bad.png", "none of 1 images can be read"),
    ):
        with pytest.raises(LabError, match=message):
            task.read(path)
    with pytest.raises(TaskError, match=r"images of shape \(3, 8\) are not pixels"):
        task.prepare(pixels(3)[:, :, 0, 0])
    with pytest.raises(TaskError, match=r"are not pixels 0\.\.255"):
        task.prepare(pixels(3).astype(float) + 300)


def test_it_travels_as_its_options(folder: Path):
    task = Images(str(folder), shift=1)
    content = pickle.dumps(task)
    assert len(content) < 2000
    again = pickle.loads(content)
    assert all(torch.equal(a, b) for a, b in zip(task.data("test"), again.data("test"), strict=True))
    assert again.options == task.options


def test_handed_what_another_process_read_it_trains_without_the_images(folder: Path):
    driver = Images(str(folder), shift=1, mixup=0.2)
    splits = {split: driver.data(split) for split in ("train", "valid")}
    lane = Images(str(folder / "not on this machine"), shift=1, mixup=0.2)
    lane.restore(driver.fitted())
    lane.take(splits)
    x, y = lane.data("train")
    assert x is splits["train"][0]
    draws = torch.from_numpy(lane.draw(len(x), np.random.default_rng(0), {}))[None]
    mixed, soft = lane.augment(lane.model_input(x)[None], y[None], draws)
    output = lane.model({"dropout": 0.1})(mixed[0])
    assert lane.loss(output, soft[0]).shape == (len(y),)


def test_an_example_is_shown_as_its_image(folder: Path):
    task = Images(str(folder))
    shown = task.show("test", 3)
    image = Image.open(io.BytesIO(base64.b64decode(shown["image"].removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), task.data("test")[0][3])
    assert shown["name"].endswith(".png")


@pytest.mark.parametrize("model", ["small_cn", 3])
def test_an_unknown_net_is_refused_at_once(model: Any):
    with pytest.raises(SpecError, match=r"^task\.model: "):
        Images("anywhere", model=model)
