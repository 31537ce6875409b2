"""Which files are images, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, features

from lab.tasks.images.decode import decode
from lab.tasks.images.files import folders_in, is_image, listed
from tests.own_data import pixels, write_folders


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x00\x05\x16\x07 resource fork")


def test_files_of_systems_and_notebooks_are_passed_over_and_counted(tmp_path: Path):
    folder = write_folders(tmp_path / ".hidden above" / "x", each=2)
    _touch(folder, "._dark", "dark/._00.png", "dark/.DS_Store", "dark/Thumbs.db", "__MACOSX/dark/._00.png")
    _touch(folder, "__MACOSX/dark/00.png", "dark/.ipynb_checkpoints/00-checkpoint.png", ".git/a/b/c.png")
    images, passed_over = listed(folder)
    assert [str(image.relative_to(folder)) for image in images] == [
        "bright/00.png",
        "bright/01.png",
        "dark/00.png",
        "dark/01.png",
    ]
    assert (passed_over.hidden, passed_over.suffixes, passed_over.links) == (8, {}, ())
    assert list(passed_over.lines()) == [
        "passed over as files of systems and notebooks, which are hidden or in hidden folders: 8"
    ]
    assert [below.name for below in folders_in(folder)] == ["bright", "dark"]


def test_other_files_are_counted_by_suffix(tmp_path: Path):
    _touch(tmp_path, "a.heic", "b.HEIC", "sub/c.txt", "README", "d.png")
    images, passed_over = listed(tmp_path)
    assert images == [tmp_path / "d.png"]
    assert list(passed_over.lines()) == ["passed over for their suffix: .heic (2), no suffix (1), .txt (1)"]
    _touch(tmp_path, *(f"a.x{i}" for i in range(9)))
    (line,) = listed(tmp_path)[1].lines()
    assert line.startswith("passed over for their suffix: .heic (2), ")
    assert line.endswith(" (1), ... (12 in all)")


def test_links_to_folders_are_followed_where_asked_and_told_else(tmp_path: Path):
    elsewhere = write_folders(tmp_path / "elsewhere", each=1)
    (tmp_path / "x" / "real").mkdir(parents=True)
    (tmp_path / "x" / "cat").symlink_to(elsewhere / "dark")
    (tmp_path / "x" / "real" / "back").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "real" / "one.png").symlink_to(elsewhere / "dark" / "00.png")
    (tmp_path / "x" / "real" / "gone.png").symlink_to(elsewhere / "none.png")
    images, passed_over = listed(tmp_path / "x")
    assert [image.name for image in images] == ["gone.png", "one.png"]
    assert list(passed_over.lines()) == [
        "links to folders are not followed: cat, real/back; name what they lead to, or copy it"
    ]
    images, passed_over = listed(tmp_path / "x", {tmp_path / "x" / "cat"})
    assert [str(image.relative_to(tmp_path / "x")) for image in images] == [
        "cat/00.png",
        "real/gone.png",
        "real/one.png",
    ]
    assert passed_over.links == ("real/back",)


@pytest.mark.parametrize(
    "suffix", ["jfif", "avif", "webp", "tif", "bmp", "JPG", "gif", "ppm", "jp2", "tga", "qoi", "ico"]
)
def test_what_this_pillow_reads_is_an_image(suffix: str, tmp_path: Path):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"a.{suffix}"
    kind = "JPEG" if suffix == "jfif" else None
    Image.fromarray(pixels(1, (16, 16, 3))[0]).save(path, kind)
    assert is_image(path)
    assert decode([path], ["a"], None, None, None).values.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.pdf", "a.eps", "a.h5", "a", "png"])
def test_what_it_does_not_decode_is_none(name: str):
    assert not is_image(Path(name))


def test_no_other_program_is_started_for_a_file_that_calls_itself_an_image(tmp_path: Path):
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(program)
    good = tmp_path / "b.png"
    Image.fromarray(pixels()[0]).save(good)
    assert decode([tmp_path / "a.png", good], ["a", "b"], None, None, None).kept.tolist() == [1]
