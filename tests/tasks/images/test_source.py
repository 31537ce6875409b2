"""Images from every form they come in, and what is none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.errors import LabError, SpecError
from lab.tasks.images.source import open_source, plain_images
from tests.own_data import encoded, hub_images, pixels, write_folders, write_hub


def test_class_folders(tmp_path: Path):
    source = open_source(str(write_folders(tmp_path / "x", each=2, classes=("猫", "犬 ñ"))))
    assert source.class_names == ("犬 ñ", "猫")
    assert source.names == ("犬 ñ/00.png", "犬 ñ/01.png", "猫/00.png", "猫/01.png")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.splits is None


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_split_folders(tmp_path: Path, valid: str):
    for split in ("train", valid, "test"):
        write_folders(tmp_path / "x" / split, each=1)
    source = open_source(str(tmp_path / "x"))
    assert source.class_names == ("bright", "dark")
    assert source.splits == ("test",) * 2 + ("train",) * 2 + ("valid",) * 2
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1] * 3


def test_folders_of_hidden_and_other_files_are_passed_over(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=2)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.png").write_bytes(b"")
    (folder / "dark" / "notes.txt").write_text("")
    (folder / "dark" / "below").mkdir()
    Image.fromarray(pixels()[0]).save(folder / "dark" / "below" / "UPPER.PNG")
    assert open_source(str(folder)).names == (
        "bright/00.png",
        "bright/01.png",
        "dark/00.png",
        "dark/01.png",
        "dark/below/UPPER.PNG",
    )


@pytest.mark.parametrize("column", ["image", "img"])
def test_a_parquet_of_the_hub(tmp_path: Path, column: str):
    images = hub_images(4)
    columns = {column: images, "label": [0, 1, 1, 0]}
    named = open_source(str(write_hub(tmp_path / "a.parquet", columns, ("cat", "dog", "bird"))))
    assert named.class_names == ("cat", "dog", "bird")
    assert named.names == ("0.png", "1.png", "2.png", "3.png")
    assert list(named.images) == [image["bytes"] for image in images]
    plain = open_source(str(write_hub(tmp_path / "b.parquet", columns)))
    assert plain.class_names == ("0", "1")
    assert plain.labels is not None
    assert plain.labels.tolist() == [0, 1, 1, 0]


def test_a_parquet_of_bytes_with_texts_for_classes(tmp_path: Path):
    cells = [image["bytes"] for image in hub_images(3)]
    source = open_source(str(write_hub(tmp_path / "a.parquet", {"image": cells, "label": ["b", "a", "b"]})))
    assert (source.class_names, source.names) == (("a", "b"), ("row 0", "row 1", "row 2"))
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("names", [(), ("cat", "dog", "bird")])
def test_lists_of_labels_are_several_labels(tmp_path: Path, names: tuple[str, ...]):
    columns = {"image": hub_images(4), "label": [[0], [0, 2], [], [1]]}
    source = open_source(str(write_hub(tmp_path / "a.parquet", columns, names)))
    assert source.class_names == (names or ("0", "1", "2"))
    assert source.labels is not None
    assert source.labels.tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("y", "class_names", "labels"),
    [
        (np.array([3, 1, 3]), ("1", "3"), [1, 0, 1]),
        (np.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (np.array([[1, 0], [1, 1], [0, 0]]), ("0", "1"), [[1, 0], [1, 1], [0, 0]]),
    ],
)
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_an_npz(tmp_path: Path, shape: Any, y: Any, class_names: tuple[str, ...], labels: list[Any]):
    x = pixels(3, shape)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    source = open_source(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(np.stack(list(source.images)), x)
    assert source.class_names == class_names
    assert source.labels is not None
    assert source.labels.tolist() == labels


@pytest.mark.parametrize("split", [False, True])
def test_a_saved_data_set_of_the_library(tmp_path: Path, split: bool):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    part = datasets.Dataset.from_dict({"image": hub_images(4), "label": [0, 1, 1, 0]}, features=features)
    saved = datasets.DatasetDict({"train": part, "validation": part}) if split else part
    saved.save_to_disk(tmp_path / "x")
    source = open_source(str(tmp_path / "x"))
    assert source.class_names == ("cat", "dog")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 1, 0] * (2 if split else 1)
    assert source.splits == (("train",) * 4 + ("valid",) * 4 if split else None)
    assert list(source.images)[:4] == [image["bytes"] for image in hub_images(4)]


def test_images_to_predict_for_need_no_labels(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=pixels(3))
    write_hub(tmp_path / "a.parquet", {"image": hub_images(3)})
    for name in ("a.npz", "a.parquet"):
        source = open_source(str(tmp_path / name), labelled=False)
        assert (len(source.images), source.labels, source.class_names) == (3, None, ())


def test_plain_images_are_one_file_or_all_below_a_folder(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=1)
    assert plain_images(folder).names == ("bright/00.png", "dark/00.png")
    assert plain_images(folder / "dark" / "00.png").names == ("00.png",)
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "none.png"):
        with pytest.raises(LabError, match=r"holds no images \(\.bmp"):
            plain_images(nothing)


def _parquet(**columns: Any) -> Any:
    return lambda path: write_hub(path / "a.parquet", columns)


def _npz(**arrays: Any) -> Any:
    def write(path: Path) -> Path:
        np.savez(path / "a.npz", **arrays)
        return path / "a.npz"

    return write


def _folder(*files: str) -> Any:
    def write(path: Path) -> Path:
        for name in files:
            (path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "x" / name).write_bytes(encoded(pixels()[0]))
        (path / "x").mkdir(exist_ok=True)
        return path / "x"

    return write


def _bytes(name: str, content: bytes) -> Any:
    def write(path: Path) -> Path:
        (path / name).write_bytes(content)
        return path / name

    return write


X, IMAGES = pixels(4), hub_images(4)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path / "none", "none: does not exist"),
        (_bytes("a.txt", b"a"), "a.txt: is neither a folder, .csv, .parquet nor .npz"),
        (_folder(), "x: is empty; a folder per class is needed, such as x/cat/1.png"),
        (_folder("a.png", "b.png"), "x: 2 images lie outside class folders; a folder per class is needed"),
        (_bytes("a.parquet", b"a"), "a.parquet: cannot be read ("),
        (_parquet(x=[1], y=[2]), "a.parquet: has columns x, y; needed are image (or img) with bytes, and label"),
        (_parquet(image=["a.png"], label=[1]), "a.parquet: column 'image' does not hold the bytes of an image file"),
        (_parquet(image=[None, IMAGES[0]], label=[1, 0]), "a.parquet: column 'image' does not hold the bytes"),
        (_parquet(image=IMAGES, label=[1, None, 0, 1]), "a.parquet: column 'label' has no value in row 2"),
        (_parquet(image=IMAGES, label=[0.5] * 4), "a.parquet: column 'label' holds neither whole numbers, texts nor"),
        (_bytes("a.npz", b"a"), "a.npz: cannot be read ("),
        (_npz(x=X), "a.npz: has no array y with the labels"),
        (_npz(x=X / 255, y=[0, 1, 0, 1]), "a.npz: array x is float64 (4, 8, 8, 3); needed is uint8 [n, h, w] or"),
        (_npz(x=X[:, 0, 0], y=[0, 1, 0, 1]), "a.npz: array x is uint8 (4, 3); needed"),
        (_npz(x=X[:, :0], y=[0, 1, 0, 1]), "a.npz: array x is uint8 (4, 0, 8, 3); needed"),
        (_npz(x=X.transpose(0, 3, 1, 2), y=[0, 1, 0, 1]), "a.npz: array x has 8 channels last; 1 or 3 are possible"),
        (_npz(x=X, y=[0, 1]), "a.npz: array y has shape (2,); needed is [4] or [4, c]"),
        (_npz(x=X, y=3), "a.npz: array y has shape (); needed is [4]"),
        (_npz(x=X, y=[[2], [0], [1], [1]]), "a.npz: array y [n, c] holds something else than 0 and 1"),
        (_npz(x=X, y=[0.5, 1, 2, 3]), "a.npz: array y holds neither whole numbers, texts nor lists of them"),
    ],
)
def test_what_holds_no_labelled_images_is_refused(write: Any, message: str, tmp_path: Path):
    path = write(tmp_path)
    with pytest.raises(LabError) as caught:
        open_source(str(path))
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)
    assert "\n" not in str(caught.value)


def test_an_npz_is_never_unpickled(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=X, y=np.array([1, "a", None, {}], dtype=object))
    with pytest.raises(LabError, match=r"a\.npz: cannot be read"):
        open_source(str(tmp_path / "a.npz"))


def test_without_the_library_a_saved_data_set_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "state.json").write_text(json.dumps({}))
    with pytest.raises(SpecError, match=r"task\.path: a data set of the Hub needs: pip install 'onecycle-lab\[hub\]'"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("names", [("Training", "Testing"), ("TRAIN", "Val", "Test")])
def test_split_folders_in_other_words(names: tuple[str, ...], tmp_path: Path):
    for name in names:
        write_folders(tmp_path / "x" / name, each=1)
    (tmp_path / "x" / "__MACOSX").mkdir()
    source = open_source(str(tmp_path / "x"))
    assert source.class_names == ("bright", "dark")
    assert source.splits is not None
    assert set(source.splits) <= {"train", "valid", "test"}


def test_what_is_passed_over_beside_and_in_class_folders_is_counted(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=2)
    for name in ("loose.png", "labels.csv", "dark/notes.txt", "dark/._00.png", "__MACOSX/dark/._00.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    source = open_source(str(folder))
    assert (len(source.images), source.class_names, source.loose) == (4, ("bright", "dark"), 1)
    assert list(source.passed_over.lines()) == [
        "passed over as files of systems and notebooks, which are hidden or in hidden folders: 2",
        "passed over for their suffix: .csv (1), .txt (1)",
    ]
    assert list(plain_images(folder).passed_over.lines()) == list(source.passed_over.lines())


@pytest.mark.parametrize("by_split", [False, True])
def test_a_class_folder_may_be_a_link(by_split: bool, tmp_path: Path):
    elsewhere = write_folders(tmp_path / "elsewhere", each=2)
    root = tmp_path / "x" / ("train" if by_split else "")
    root.mkdir(parents=True)
    (root / "night").symlink_to(elsewhere / "dark")
    (root / "day").symlink_to(elsewhere / "bright")
    (elsewhere / "dark" / "more").symlink_to(elsewhere / "bright")
    source = open_source(str(tmp_path / "x"))
    assert source.class_names == ("day", "night")
    assert len(source.images) == 4
    assert [link.removeprefix("train/") for link in source.passed_over.links] == ["night/more"]


def test_images_of_another_kind_only_say_so(tmp_path: Path):
    (tmp_path / "x" / "cat").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "x" / "cat" / f"{i}.heic").write_bytes(b"")
    passed_over = r"passed over for their suffix: \.heic \(3\)"
    with pytest.raises(LabError, match=rf"x: {passed_over}; a folder per class is needed, such as x/cat/1\.png"):
        open_source(str(tmp_path / "x"))
    with pytest.raises(LabError, match=rf"cat: holds no images \({passed_over}\)"):
        plain_images(tmp_path / "x" / "cat")


def test_splits_beside_what_is_none_are_refused(tmp_path: Path):
    for name in ("train", "test", "more"):
        write_folders(tmp_path / "x" / name, each=1)
    with pytest.raises(LabError, match="test, train look like splits, and more beside them like none"):
        open_source(str(tmp_path / "x"))


def test_a_class_may_be_called_as_a_split(tmp_path: Path):
    folder = write_folders(tmp_path / "x", each=2, classes=("crash", "test", "train"))
    assert open_source(str(folder)).class_names == ("crash", "test", "train")
