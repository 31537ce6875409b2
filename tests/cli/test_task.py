"""`lab task`: a template that runs as it is, and a check that says in plain words what is wrong."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.cli.test_bad_input import refuse
from tests.own_data import table, write_folders, write_table


def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run the command in this process; what it prints, having ended well."""
    from lab.cli.main import main

    monkeypatch.setattr("sys.argv", ["lab", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    return captured.out


def test_a_new_task_keeps_the_contract_and_so_does_its_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    said = _run(capsys, monkeypatch, "task", "new", "fresh_task.py")
    assert "then: lab task check fresh_task.py:FreshTask" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh_task.py", "test_fresh_task.py"]
    for path in tmp_path.iterdir():
        assert not {"NAME", "FILE"} & set(path.read_text().replace(".", " ").split())
    checked = _run(capsys, monkeypatch, "task", "check", "fresh_task.py:FreshTask", "--set", "examples=200")
    assert len([line for line in checked.splitlines() if line.startswith("ok  ")]) == 10
    assert "classification, scored by accuracy; 120 train, 40 valid, 40 test" in checked
    runpy.run_path("test_fresh_task.py")["test_it_keeps_the_contract"]()


def test_the_class_may_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    _run(capsys, monkeypatch, "task", "new", tmp_path / "a.py", "--name", "Moons")
    assert "class Moons(lab.Task):" in (tmp_path / "a.py").read_text()
    assert "from a import Moons" in (tmp_path / "test_a.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task.txt"], "FILE.py: '{0}/task.txt' is not the name of a Python module, such as my_task.py"),
        (["my-task.py"], "FILE.py: '{0}/my-task.py' is not the name of a Python module"),
        (["class.py"], "FILE.py: '{0}/class.py' is not the name of a Python module"),
        (["a.py", "--name", "my task"], "--name: 'my task' is not the name of a class"),
        (["a.py", "--name", "class"], "--name: 'class' is not the name of a class"),
        (["nowhere/a.py"], "FILE.py: the folder {0}/nowhere does not exist"),
        (["there.py"], "FILE.py: {0}/there.py exists already; nothing was written"),
        (["b.py"], "FILE.py: {0}/test_b.py exists already; nothing was written"),
    ],
)
def test_a_task_that_cannot_be_written_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("there.py", "test_b.py"):
        (tmp_path / name).write_text("mine")
    line = refuse(capsys, monkeypatch, "task", "new", tmp_path / arguments[0], *arguments[1:])
    assert line.startswith(message.format(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_b.py", "there.py"]
    assert all(path.read_text() == "mine" for path in tmp_path.iterdir())


BROKEN = """
import torch, lab
from torch import nn
class Broken(lab.Task):
    def model(self, params):
        return nn.Linear(3, 2)
    def data(self, split):
        x = torch.randn(40, 3)
        return x + torch.arange(40)[:, None] % 2, torch.arange(40) % 2
class Unfit(Broken):
    def model(self, params):
        return nn.Linear(4, 2)
@lab.trial_function(metric="score", direction="minimize")
def function(trial):
    yield {"score": 1.0}
"""


def test_what_breaks_the_contract_is_said_point_by_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setattr("sys.argv", ["lab", "task", "check", f"{tmp_path}/broken.py:Broken"])
    from lab.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert "ok   data, model, loss and metrics fit together" in captured.out
    assert "FAIL the same data whenever they are asked for: data('train') gave something else" in captured.out
    assert captured.err == f"lab: {tmp_path}/broken.py:Broken: 1 point of the contract failed\n"


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("broken.py:Unfit", [], "broken.py:Unfit: 1 point of the contract failed"),
        ("broken.py:Brken", [], "broken.py: has no 'Brken' (did you mean 'Broken'?)"),
        ("broken.py:function", [], "broken.py:function: is a trial function; the contract is that of a lab.Task"),
        ("gone.py:Broken", [], "task.kind: the file {0}/gone.py does not exist"),
        ("broken.py:Broken", ["--set", "depth=3"], "task: {0}/broken.py:Broken: "),
        ("broken.py:Broken", ["--set", "depth"], "--set: 'depth' is not of the form key=value"),
        ("tabel", [], "task.kind: 'tabel' is unknown (did you mean 'table'?)"),
        ("table", [], "task.path: is missing: the table: .csv, .tsv or .parquet"),
        ("table", ["--set", "path=gone.csv", "--set", "target=a"], "table: 1 point of the contract failed"),
        ("images", ["--set", "path=gone", "--set", "size=0"], "task.size: 0 is not a whole number of at least 1"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    task: str,
    more: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    full = f"{tmp_path}/{task}" if ":" in task else task
    line = refuse(capsys, monkeypatch, "task", "check", full, *more)
    assert message.format(tmp_path) in line


def test_built_in_tasks_are_checked_on_the_users_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv", table())
    said = _run(capsys, monkeypatch, "task", "check", "table", "--set", "path=t.csv", "--set", "target=answer")
    assert "FAIL" not in said
    assert "     target answer: classification with 2 classes: no, yes" in said
    write_folders(tmp_path / "photos")
    said = _run(capsys, monkeypatch, "task", "check", "images", "--set", "path=photos", "--param", "shift=1")
    assert "FAIL" not in said
    assert "     classes (2): bright, dark" in said


def test_the_list_names_every_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    said = _run(capsys, monkeypatch, "task", "list")
    for text in (
        "table: a CSV or parquet of your own",
        "  target: the column to predict",
        "images: images of your own",
    ):
        assert text in said
