"""Tasks by name: built in, or from a user's file whose own line is named when it fails."""

from __future__ import annotations

import importlib
import inspect
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError, SpecError, TaskError
from lab.spec.plan import TaskRef
from lab.tasks.builtin import BUILTIN
from lab.tasks.digits import Digits
from lab.tasks.load import check_reference, describe, load_task
from lab.tasks.task import TrialFunction

GOOD = """
import torch, lab
class Mine(lab.Task):
    def __init__(self, depth=1):
        self.depth = depth
        if depth > 3:
            raise ValueError("too deep")
        if depth < 0:
            torch.zeros(-1)
    def model(self, params): ...
    def data(self, split): ...
class Abstract(lab.Task):
    def model(self, params): ...
class NoTask: ...
@lab.trial_function(metric="score", direction="minimize")
def train(trial):
    yield {"score": 1.0}
"""
_names = itertools.count()


@pytest.fixture
def write(tmp_path: Path):
    """Write a task file of a fresh name; its reference."""

    def write(text: str, name: str = "Mine", **options: Any) -> TaskRef:
        path = tmp_path / f"task_{next(_names)}.py"
        path.write_text(text)
        return TaskRef(f"{path.name}:{name}", options, str(tmp_path))

    return write


def test_built_in_tasks_are_what_the_registry_says():
    for kind, builtin in BUILTIN.items():
        module, _, name = builtin.task.partition(":")
        task_class = getattr(importlib.import_module(module), name)
        assert list(inspect.signature(task_class).parameters) == list(builtin.options.declared()), kind
        assert task_class.paths == builtin.options.paths()
    digits = load_task(TaskRef("digits"))
    assert isinstance(digits, Digits)
    assert len(digits.data("train")[0]) == describe(TaskRef("digits")).train_examples
    assert isinstance(load_task(TaskRef("digits", {"model": "cnn"})), Digits)


def test_a_users_task_is_loaded_with_its_options(write: Any):
    task = load_task(write(GOOD, depth=3))
    assert task.depth == 3
    assert isinstance(load_task(write(GOOD, "train")), TrialFunction)


def test_a_task_given_as_an_object_is_taken_as_it_is():
    task = Digits()
    assert load_task(TaskRef("nowhere.py:Digits", instance=task)) is task


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "digit",
            r"task\.kind: 'digit' is unknown \(did you mean 'digits'\?\); "
            r"choices: digits, table, images, ratings, text, language_model, F",
        ),
        ("mine.py", r"task\.kind: 'mine\.py' is unknown"),
        ("mine.py:", r"task\.kind: 'mine\.py:' is unknown"),
        ("mine.txt:Task", "is unknown"),
        ("nowhere.py:Task", r"task\.kind: the file .*nowhere\.py does not exist"),
    ],
)
def test_an_unknown_task_is_refused_with_the_choices(kind: str, message: str):
    for refuse in (check_reference, load_task):
        with pytest.raises(SpecError, match=message):
            refuse(TaskRef(kind))


def test_an_unknown_option_is_refused(write: Any):
    with pytest.raises(
        SpecError, match=r"task\.modle: is unknown \(did you mean 'model'\?\); allowed: model, split_seed"
    ):
        check_reference(TaskRef("digits", {"modle": "cnn"}))
    with pytest.raises(SpecError, match=r"task\.model: 'rnn' is unknown; choices: mlp, cnn"):
        load_task(TaskRef("digits", {"model": "rnn"}))
    with pytest.raises(SpecError, match="unexpected keyword argument 'width'"):
        load_task(write(GOOD, width=3))
    with pytest.raises(SpecError, match=r"a trial function takes no options; got \['width'\]"):
        load_task(write(GOOD, "train", width=3))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import lab\n\nclass Mine(lab.Task:\n    pass\n", 3, "SyntaxError: "),
        ("x = 1\nif x:\n  y = 2\n    z = 3\n", 4, "IndentationError: "),
        ("import lab\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError: "),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("raise ValueError('two\\nlines')\n", 1, "ValueError: two lines"),
    ],
)
def test_a_file_that_does_not_import_names_the_users_line(write: Any, text: str, line: int, message: str):
    ref = write(text)
    path = Path(ref.root) / ref.kind.split(":")[0]
    with pytest.raises(TaskError) as caught:
        load_task(ref)
    assert str(caught.value).startswith(f"{path}:{line}: {message}")
    assert "\n" not in str(caught.value)
    path.write_text(GOOD)
    assert load_task(ref) is not None, "after it has been mended"


def test_a_broken_neighbour_of_the_file_is_named(write: Any, tmp_path: Path):
    (tmp_path / "neighbour_a.py").write_text("x = (\n")
    with pytest.raises(TaskError, match=r"neighbour_a\.py:1: SyntaxError"):
        load_task(write("import neighbour_a\n"))


@pytest.mark.parametrize(("depth", "line", "message"), [(9, 7, "ValueError: too deep"), (-1, 9, "RuntimeError: ")])
def test_a_constructor_that_fails_names_the_users_line(write: Any, depth: int, line: int, message: str):
    ref = write(GOOD, depth=depth)
    with pytest.raises(TaskError) as caught:
        load_task(ref)
    path = Path(ref.root) / ref.kind.split(":")[0]
    assert str(caught.value).startswith(f"{ref.kind}: {path}:{line}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Min", r"has no 'Min' \(did you mean 'Mine'\?\)"),
        ("NoTask", r"is neither a subclass of lab\.Task nor made by @lab\.trial_function"),
        ("Abstract", "lacks data"),
        ("torch", "is neither"),
    ],
)
def test_what_is_no_task_is_refused(write: Any, name: str, message: str):
    with pytest.raises(TaskError, match=message) as caught:
        load_task(write(GOOD, name))
    assert isinstance(caught.value, LabError)


def test_files_of_the_same_name_are_told_apart(tmp_path: Path):
    tasks = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "same_name.py"
        path.parent.mkdir()
        path.write_text(f"{GOOD}\nMine.where = {folder!r}\n")
        tasks.append(load_task(TaskRef("same_name.py:Mine", root=str(path.parent))))
    assert [task.where for task in tasks] == ["a", "b"]  # type: ignore[union-attr]


def test_checking_a_built_in_task_imports_no_torch():
    code = (
        "import sys; from lab.spec.plan import TaskRef; from lab.tasks.load import check_reference; "
        "check_reference(TaskRef('digits', {'model': 'cnn'})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
