"""Options are declared once, and every reader takes them from the declaration."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from lab.errors import SpecError
from lab.tasks.builtin import BUILTIN, rooted
from lab.tasks.options import FLAG, HUB, PATH, SHARE, Options, absolute, constructed_by, number, one_of, option, whole


class Common(Options, kw_only=True):
    """What two tasks share."""

    noise: float = option("share of noise", SHARE, default=0.0, searched=True)


class Small(Common):
    """What a spec may say of a small task."""

    path: str = option("the data", PATH)
    depth: int = option("layers", whole(1, 8), default=2)
    words: list[str] = option("names", default_factory=list)
    net: str | None = option("the net", one_of("wide", "deep"), default=None)

    def check(self) -> None:
        if self.net == "deep" and self.depth < 2:
            raise SpecError("task.depth", "is too small for a deep net")


class Task:
    @constructed_by(Small)
    def __init__(self, options: Small) -> None:
        self.options = options.plain()


def test_what_is_declared_is_what_can_be_read():
    assert list(Small.declared()) == ["path", "depth", "words", "net", "noise"], "the constructor's order"
    assert Small.declared()["depth"].meaning == "layers"
    assert [name for name in Small.declared() if Small.requires(name)] == ["path"]
    assert (Small.default("depth"), Small.default("words"), Small.default("net")) == (2, [], None)
    assert Small.paths() == ("path",)
    assert Small.reads() == {"dropout": (0, 1), "noise": (0, 1)}
    assert "    depth: layers\n" in (Small.__doc__ or "")


def test_a_task_is_constructed_by_its_options():
    assert Task("x", 3, net="wide").options == {"path": "x", "depth": 3, "words": [], "net": "wide", "noise": 0.0}
    assert str(inspect.signature(Task)).startswith("(path: 'str', depth: 'int' = 2, words: ")
    assert str(inspect.signature(Task)).endswith("*, noise: 'float' = 0.0)")
    assert "    depth: layers\n" in (Task.__init__.__doc__ or "")
    with pytest.raises(TypeError, match="required positional argument: 'path'"):
        Task()  # type: ignore[call-arg]


def test_none_stands_for_the_default():
    assert Small.parse({"path": "x", "depth": None, "words": None, "noise": None}) == Small("x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pth": "x"}, "task.pth: is unknown (did you mean 'path'?); allowed: path, depth, words, net, noise"),
        ({}, "task.path: is missing: the data"),
        ({"path": None}, "task.path: is missing: the data"),
        ({"path": ""}, "task.path: '' is not a path"),
        ({"path": 3}, "task.path: 3 is not a path"),
        ({"path": "x", "depth": 0}, "task.depth: 0 is not a whole number from 1 to 8"),
        ({"path": "x", "depth": True}, "task.depth: True is not a whole number from 1 to 8"),
        ({"path": "x", "depth": 2.0}, "task.depth: 2.0 is not a whole number from 1 to 8"),
        ({"path": "x", "net": "flat"}, "task.net: 'flat' is unknown; choices: wide, deep"),
        ({"path": "x", "net": ["wide"]}, "task.net: ['wide'] is unknown; choices: wide, deep"),
        ({"path": "x", "noise": 1}, "task.noise: 1 is not a share between 0 and 1"),
        ({"path": "x", "noise": float("nan")}, "task.noise: nan is not a share between 0 and 1"),
        ({"path": "x", "depth": 1, "net": "deep"}, "task.depth: is too small for a deep net"),
    ],
)
def test_what_is_impossible_is_refused_in_one_line(values: dict[str, Any], message: str):
    with pytest.raises(SpecError) as caught:
        Small.parse(values)
    assert str(caught.value) == message


def test_limits_are_part_of_what_is_allowed():
    at_least = whole(0, unit="pixels")
    assert (at_least.refusal, at_least.range) == ("is not a whole number of pixels of at least 0", (0, float("inf")))
    assert at_least.holds(0)
    assert not at_least.holds(-1)
    assert (number(0, 100).holds(100), number(0, 100).holds(100.5), number(0, 100).holds("1")) == (True, False, False)
    assert [value for value in (True, False, 0, 1, None) if FLAG.holds(value)] == [True, False]


def test_paths_are_made_absolute_and_names_of_the_hub_are_left(tmp_path: Path):
    assert absolute({"path": "a", "depth": "b"}, Small.paths(), tmp_path) == {"path": str(tmp_path / "a")}
    assert absolute({"path": f"{HUB}a"}, Small.paths(), tmp_path) == {}
    assert rooted("table", {"path": "/a", "test_path": "b", "target": "c"}, tmp_path) == {
        "path": "/a",
        "test_path": str(tmp_path / "b"),
    }
    assert rooted("mine.py:Mine", {"path": "a"}, tmp_path) == {}


@pytest.mark.parametrize("kind", BUILTIN)
def test_every_option_of_a_built_in_task_has_a_meaning_and_an_allowed_default(kind: str):
    options = BUILTIN[kind].options
    for name, declared in options.declared().items():
        assert declared.meaning
        assert "\n" not in declared.meaning
        if not options.requires(name) and options.default(name) is not None:
            assert declared.allowed.holds(options.default(name)), name


@pytest.mark.parametrize("kind", BUILTIN)
def test_a_space_may_reach_to_whatever_an_option_allows(kind: str):
    """Its upper end, too."""
    values = [0, 0.0, 0.5, 1, 1.0, 4, 50, 100, 100.0, 256, 1024, 65536]
    for name, entry in BUILTIN[kind].options.declared().items():
        low, below = entry.allowed.range
        allowed = [value for value in values if entry.searched and entry.allowed.holds(value)]
        assert all(low <= value < below for value in allowed), (name, allowed)
