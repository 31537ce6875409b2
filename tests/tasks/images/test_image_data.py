"""Images made ready: splits, statistics of the training images alone, and what is doubtful."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.errors import LabError, SpecError, TaskError
from lab.tasks import mapped
from lab.tasks.images.describe import describe
from lab.tasks.images.image_data import Fitted, ImageData
from lab.tasks.images.options import ImageOptions
from tests.own_data import hub_images, pixels, write_folders, write_hub


def _data(path: Path, **options: Any) -> ImageData:
    return ImageData(ImageOptions(str(path), **options))


def test_statistics_are_those_of_the_training_images(tmp_path: Path):
    data = _data(write_folders(tmp_path / "x", each=20))
    train = data.pixels("train") / 255
    assert data.fitted.mean == pytest.approx(train.mean(axis=(0, 2, 3)))
    assert data.fitted.std == pytest.approx(train.std(axis=(0, 2, 3)))
    assert (data.fitted.channels, data.fitted.height, data.fitted.width) == (3, 8, 8)
    assert Fitted.load(json.loads(json.dumps(data.fitted.dump()))) == data.fitted
    with pytest.raises(TaskError, match=r"what was fitted to the images is damaged \('mean' is missing\)"):
        Fitted.load({name: value for name, value in data.fitted.dump().items() if name != "mean"})


def test_what_was_fitted_before_bits_were_kept_is_read(tmp_path: Path):
    dumped = _data(write_folders(tmp_path / "x", each=20)).fitted.dump()
    del dumped["bits"]
    assert Fitted.load(dumped).bits == 16


def test_images_whose_shape_is_in_their_transparency_are_told_apart_and_blank_ones_told(tmp_path: Path):
    for name, ink in (("disc", 0), ("pale", 255)):
        (tmp_path / "x" / name).mkdir(parents=True)
        for i in range(20):
            image = Image.new("LA", (8, 8), (ink, 0))
            image.putpixel((i % 8, i % 5), (ink, 255))
            image.save(tmp_path / "x" / name / f"{i}.png")
    data = _data(tmp_path / "x")
    train, labels = data.pixels("train"), data.labels("train")
    assert {image.min() for image in train[labels == 0]} == {0}
    assert {image.min() for image in train[labels == 1]} == {255}
    assert data.describe().warnings[0] == (
        "12 of 24 training images are of one colour throughout; what is transparent is seen as white"
    )


def test_test_images_are_measured_in_the_bits_of_those_trained_on(tmp_path: Path):
    for part, value in (("x", 4000), ("y", 200)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(10):
                Image.fromarray(np.full((4, 4), value + i, dtype=np.uint16)).save(tmp_path / part / name / f"{i}.png")
    data = _data(tmp_path / "x", test_path=str(tmp_path / "y"))
    assert data.fitted.bits == 12
    assert data.pixels("train").max() == 4009 >> 4
    assert data.pixels("test").max() == 209 >> 4


def test_one_colour_has_a_spread_of_one(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.full((20, 4, 4), 51, np.uint8), y=np.arange(20) % 2)
    fitted = _data(tmp_path / "a.npz").fitted
    assert (fitted.mean, fitted.std) == (pytest.approx((0.2,)), (1.0,))


def test_splits_are_stratified_disjoint_and_the_same_again(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=20)
    data, again = _data(folder), _data(folder)
    names = {split: [data.name(split, i) for i in range(len(data.rows[split]))] for split in data.rows}
    assert [len(set(names[split])) for split in ("train", "valid", "test")] == [24, 8, 8]
    assert len({name for part in names.values() for name in part}) == 40
    for split in ("train", "valid", "test"):
        assert np.bincount(data.labels(split)).tolist() == [len(names[split]) // 2] * 2
        np.testing.assert_array_equal(data.pixels(split), again.pixels(split))
    other = _data(folder, split={"seed": 1})
    assert [other.name("test", i) for i in range(8)] != names["test"]


def test_a_split_that_folders_do_not_say_is_made_from_the_training_images(tmp_path: Path):
    for split in ("train", "test"):
        write_folders(tmp_path / "x" / split, each=10, seed=len(split))
    data = _data(tmp_path / "x")
    assert {split: len(rows) for split, rows in data.rows.items()} == {"train": 16, "valid": 4, "test": 20}
    assert all(data.name("valid", i).startswith("train/") for i in range(4))
    assert all(data.name("test", i).startswith("test/") for i in range(20))


def test_only_a_training_folder_and_only_a_validation_folder(tmp_path: Path):
    write_folders(tmp_path / "x" / "train", each=10)
    assert {s: len(r) for s, r in _data(tmp_path / "x").rows.items()} == {"train": 12, "valid": 4, "test": 4}
    write_folders(tmp_path / "x" / "valid", each=3, seed=1)
    assert {s: len(r) for s, r in _data(tmp_path / "x").rows.items()} == {"train": 16, "valid": 6, "test": 4}
    write_folders(tmp_path / "y" / "test", each=3)
    with pytest.raises(TaskError, match=r"y: has no training images \(folder train\)"):
        _data(tmp_path / "y").describe()


def test_test_images_may_come_from_elsewhere_with_fewer_classes(tmp_path: Path):
    main = write_folders(tmp_path / "x", each=10, classes=("a", "b", "c"))
    test = write_folders(tmp_path / "y", each=3, classes=("b", "c"), seed=1)
    data = _data(main, test_path=str(test))
    assert {split: len(rows) for split, rows in data.rows.items()} == {"train": 24, "valid": 6, "test": 6}
    assert data.labels("test").tolist() == [1] * 3 + [2] * 3
    assert data.name("test", 0) == "b/00.png"
    unknown = write_folders(tmp_path / "z", each=3, classes=("b", "q"))
    with pytest.raises(TaskError, match=r"z: class 'q' is not in .*x"):
        _data(main, test_path=str(unknown)).describe()


def test_a_limit_takes_each_class_in_its_share(tmp_path: Path):
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    np.savez(tmp_path / "a.npz", x=pixels(100, (4, 4)), y=y)
    data = _data(tmp_path / "a.npz", limit=50)
    counts = sum(np.bincount(data.labels(split), minlength=3) for split in ("train", "valid", "test"))
    assert counts.tolist() == [30, 15, 5]
    unlimited = [_data(tmp_path / "a.npz", **options).pixels("train") for options in ({"limit": 1000}, {})]
    np.testing.assert_array_equal(*unlimited)


def test_several_labels(tmp_path: Path):
    labels = [[0], [1], [0, 1], []] * 5
    path = write_hub(tmp_path / "a.parquet", {"image": hub_images(20), "label": labels})
    data = _data(path)
    assert data.fitted.multilabel
    assert data.labels("train").shape == (12, 2)
    assert data.describe().facts[0] == "labels (2): 0, 1"


def test_a_rare_label_is_spread_over_the_splits(tmp_path: Path):
    labels = [[0] if i % 2 else [1] for i in range(60)]
    for i in (3, 17, 20, 41):
        labels[i] = [*labels[i], 2]
    path = write_hub(tmp_path / "a.parquet", {"image": hub_images(60), "label": labels})
    for seed in range(5):
        data = _data(path, split={"seed": seed})
        assert [int(data.labels(split)[:, 2].sum()) for split in ("train", "valid", "test")] == [2, 1, 1]
    assert "train has few examples of label 2 (2); scores say little of them" in data.describe().warnings


def test_classes_may_be_given_names(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=pixels(20), y=np.arange(20) % 2)
    assert _data(tmp_path / "a.npz", class_names=["cat", "dog"]).describe().facts == (
        "classes (2): cat, dog",
        "images 12 train, 4 valid, 4 test (split: stratified)",
        "3 channels of 8x8 pixels",
        "shares of classes in training: cat 0.5 (6), dog 0.5 (6)",
        "always saying cat scores accuracy 0.5 on the validation rows",
    )


def test_classes_that_have_names_keep_them(tmp_path: Path):
    """Given in another order, they would change places."""
    folder = write_folders(tmp_path / "x", each=20)
    with pytest.raises(
        SpecError, match=r"^task\.class_names: the classes of .*x have names already, .*: bright, dark; "
    ):
        _data(folder, class_names=["dark", "bright"]).describe()
    assert _data(folder, class_names=["bright", "dark"]).describe().facts[0] == "classes (2): bright, dark"


def test_unreadable_images_are_named_and_counted(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=20)
    (folder / "dark" / "07.png").write_bytes(b"no image")
    with pytest.raises(
        TaskError, match=r"x: 1 of 40 images cannot be read \(dark/07\.png\); more than max_unreadable 0"
    ):
        _data(folder).describe()
    data = _data(folder, max_unreadable=0.05)
    assert data.describe().warnings == ("1 images cannot be read and are left out: dark/07.png",)
    names = [data.name(split, i) for split in data.rows for i in range(len(data.rows[split]))]
    assert len(names) == 39
    assert "dark/07.png" not in names


def test_folders_without_an_image_are_named(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=20)
    (folder / "night").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").write_text("no image")
    for limit in (None, 20):
        data = _data(folder, limit=limit)
        assert data.describe().warnings[0] == "no class is made of what holds no image: night, notes"
        assert len(data.fitted.class_names) == 2


def test_what_is_no_image_is_told(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=20)
    for name in ("dark/._00.png", ".DS_Store", "bright/new.heic", "loose.png"):
        (folder / name).write_bytes(b"")
    assert _data(folder).describe().warnings == (
        "1 images beside class folders have no class and are passed over",
        "passed over as files of systems and notebooks, which are hidden or in hidden folders: 2",
        "passed over for their suffix: .heic (1)",
    )


def test_a_class_with_few_images_is_told(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=20)
    for i in range(4, 20):
        (folder / "dark" / f"{i:02}.png").unlink()
    assert _data(folder).describe().warnings == ("train has few examples of class dark (2); scores say little of them",)


def test_images_in_two_splits_are_warned_of(tmp_path: Path):
    for split in ("train", "valid", "test"):
        write_folders(tmp_path / "x" / split, each=5, seed=0 if split != "test" else 1)
    assert _data(tmp_path / "x").describe().warnings == (
        "10 of 10 valid images are also training images: duplicates make scores too good",
    )


def _npz(path: Path, y: Any) -> Path:
    np.savez(path / "a.npz", x=pixels(len(y)), y=np.array(y))
    return path / "a.npz"


BAD: list[tuple[Any, dict[str, Any], str]] = [
    ([0] * 8, {}, "a.npz: has one class only ('0'); two are needed"),
    ([0, 1] * 4 + [2], {}, "a.npz: class '2' has 1 readable example, and at least 3 are needed; leave it out"),
    ([0, 1] * 4 + [2, 2], {}, "a.npz: class '2' has 2 readable examples, and at least 3 are needed"),
    (list(range(8)), {}, "a.npz: 8 classes for 8 images"),
    ([0, 1] * 9, {"size": 0}, "task.size: 0 is not a whole number of at least 1"),
    ([0, 1] * 9, {"size": 10**7}, "task.size: 10000000 is above 4096 pixels"),
    ([0, 1] * 9, {"size": True}, "task.size: True is not"),
    ([0, 1] * 9, {"limit": "all"}, "task.limit: 'all' is not a whole number of at least 1"),
    ([0, 1] * 9, {"limit": 4}, "a.npz: class '0' has 2 readable examples"),
    ([0, 1] * 9, {"max_unreadable": 1}, "task.max_unreadable: 1 is not a share between 0 and 1"),
    ([0, 1] * 9, {"max_unreadable": "x"}, "task.max_unreadable: 'x' is not"),
    ([0, 1] * 9, {"class_names": "ab"}, "task.class_names: 'ab' is not a list of names"),
    ([0, 1] * 9, {"class_names": ["a"]}, "task.class_names: 1 names for the 2 classes of "),
    ([0, 1] * 9, {"class_names": ["a", "a"]}, "task.class_names: ['a', 'a'] has a name twice"),
    ([0, 1] * 9, {"views": 2}, "task.views: 2 is above 1, as many as there are; task.flip: true and task.shift give"),
    ([0, 1] * 9, {"views": 11, "flip": True, "shift": 1}, "task.views: 11 is above 10, as many as there are"),
    ([0, 1] * 9, {"class_names": [1, 2]}, "task.class_names: [1, 2] is not a list of names"),
    ([0, 1] * 9, {"test_path": 3}, "task.test_path: 3 is not a path"),
    ([0, 1] * 9, {"test_path": "/nowhere"}, "/nowhere: does not exist"),
    ([0, 1] * 9, {"path": 3}, "task.path: 3 is not a path"),
    (
        [0, 1] * 9,
        {"split": {"kind": "time", "by": "day"}},
        "task.split.kind: 'time' is for tables; images are split by",
    ),
    ([0, 1] * 9, {"split": {"kind": "declared", "by": "a"}}, "task.split.kind: images declare their splits by folders"),
    ([0, 1] * 9, {"split": {"folds": 1}}, "task.split.folds: 1 is not a whole number of at least 2"),
    (
        [0, 1] * 9,
        {"split": {"folds": 8}},
        "task.split.folds: 8 is above the 7 rows of train and valid with class 0; at most 7",
    ),
    ([0, 1] * 9, {"split": "startified"}, "task.split.kind: 'startified' is unknown (did you mean 'stratified'?)"),
]


@pytest.mark.parametrize(("y", "options", "message"), BAD, ids=[message[:45] for *_, message in BAD])
def test_what_cannot_be_trained_on_is_refused_in_one_line(y: Any, options: Any, message: str, tmp_path: Path):
    with pytest.raises(LabError) as caught:
        describe({"path": str(_npz(tmp_path, y)), **options})
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)
    assert "\n" not in str(caught.value)


def test_test_images_of_another_size_say_what_to_do(tmp_path: Path):
    main, test = write_folders(tmp_path / "x"), tmp_path / "y" / "dark"
    test.mkdir(parents=True)
    Image.fromarray(pixels(1, (9, 8, 3))[0]).save(test / "a.png")
    with pytest.raises(TaskError, match=r"y: images are 3x9x8, those to train on 3x8x8; say size"):
        _data(main, test_path=str(test.parent)).describe()


def test_classes_of_very_different_sizes_and_with_names_that_are_alike_are_told(tmp_path: Path):
    for split in ("train", "valid", "test"):
        write_folders(
            tmp_path / "x" / split, each=60 if split == "train" else 10, classes=("cat", "Cat"), seed=len(split)
        )
    for i in range(2, 60):
        (tmp_path / "x" / "train" / "Cat" / f"{i:02}.png").unlink()
    data = _data(tmp_path / "x")
    warnings = data.describe().warnings
    assert "classes differ by case or spaces only: 'Cat', 'cat'; if they are one, write them alike" in warnings
    assert warnings[-2] == (
        "classes are of very different sizes: 30 training rows of cat to one of Cat; always saying cat scores accuracy "
        "0.5 on the validation rows already"
    )


def test_folds_hold_each_class_in_its_share_and_no_folder_of_validation_images(tmp_path: Path):
    data = ImageData(ImageOptions(str(_npz(tmp_path, [0, 1] * 25)), split={"folds": 4}))
    assert data.folds is not None
    labels = np.concatenate([data.labels("train"), data.labels("valid")])
    assert [np.bincount(labels[data.folds == fold]).tolist() for fold in range(4)] == [[5, 5]] * 4
    for split in ("train", "valid"):
        write_folders(tmp_path / "photos" / split)
    declared = ImageData(ImageOptions(str(tmp_path / "photos"), split={"folds": 4}))
    with pytest.raises(SpecError, match=r"^task.split.folds: 4 folds are not possible where a folder says 'valid'$"):
        _ = declared.folds


def test_pixels_are_in_the_memory_once(tmp_path: Path):
    path = _npz(tmp_path, np.arange(60) % 2)
    data, stored = _data(path), np.load(path)["x"].transpose(0, 3, 1, 2)
    for split, rows in data.rows.items():
        np.testing.assert_array_equal(data.pixels(split), stored[rows])
        np.testing.assert_array_equal(data.image(split, len(rows) - 1), stored[rows[-1]])
        assert np.shares_memory(data.pixels(split), data._main.pixels)
    np.testing.assert_array_equal(data.to_learn_from, stored[np.concatenate([data.rows["train"], data.rows["valid"]])])
    assert len(data._main.source.images) == 0


@pytest.mark.parametrize("damaged", [False, True])
def test_images_larger_than_a_share_of_the_memory_lie_in_a_file_and_are_the_same(
    damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where some cannot be read, and where the folder is opened again."""
    write_folders(tmp_path / "photos", each=40)
    if damaged:
        next((tmp_path / "photos").rglob("*.png")).write_bytes(b"no image")
    options = ImageOptions(str(tmp_path / "photos"), size=8, max_unreadable=0.1)
    small = ImageData(options, tmp_path / "small")
    assert not isinstance(small.pixels("train"), np.memmap)
    monkeypatch.setattr(mapped, "room_bytes", lambda: 1000)
    large = ImageData(options, tmp_path / "large")
    for data in (large, ImageData(options, tmp_path / "large")):
        for split in ("train", "valid", "test"):
            assert isinstance(data.pixels(split), np.memmap)
            np.testing.assert_array_equal(data.pixels(split), small.pixels(split))
            np.testing.assert_array_equal(data.labels(split), small.labels(split))
        assert data.fitted == small.fitted
    assert sorted(path.suffix for path in (tmp_path / "large").iterdir()) == [".npz", ".pixels"]


def test_another_split_of_the_same_images_is_arranged_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_folders(tmp_path / "photos", each=40)
    monkeypatch.setattr(mapped, "room_bytes", lambda: 1000)
    of_seeds = [
        ImageData(ImageOptions(str(tmp_path / "photos"), split={"seed": seed}), tmp_path / "kept") for seed in (0, 1)
    ]
    for data in of_seeds:
        plain = ImageData(data.options)
        np.testing.assert_array_equal(data.pixels("valid"), plain.pixels("valid"))
    assert len([*(tmp_path / "kept").glob("*.pixels")]) == 2


def test_nothing_is_left_of_images_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_folders(tmp_path / "photos", each=40)
    Image.new("RGB", (9, 5)).save(tmp_path / "photos" / "dark" / "odd.png")
    monkeypatch.setattr(mapped, "room_bytes", lambda: 1000)
    with pytest.raises(TaskError, match="images have 2 sizes"):
        _ = ImageData(ImageOptions(str(tmp_path / "photos")), tmp_path / "kept").rows
    assert [*(tmp_path / "kept").iterdir()] == []
