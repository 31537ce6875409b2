"""Study folders damaged in every way that a fixed seed thinks of: each command ends well, or in one line."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.cli import main
from lab.errors import RecordError
from lab.lanes.live_status import NAME
from lab.record.folder import Record, locked
from lab.study.going_on import write_spec
from lab.study.status import describe_status, status_of
from lab.study.study import Study
from tests.cli.refusal import refuse
from tests.small import ROOT, small_spec

_STUDIES = ROOT / "tests" / "golden" / "studies"
_FINISHED = _STUDIES / "finished"
_FOLDERS = 120
_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "",
    "x" * 3000,
    "\x1b[2J\ud800",
    [],
    [[]],
    {},
    {"": None},
    "NaN",
]


def _ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code of a command in this process, and what it says when it ends with one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    said = capsys.readouterr()
    assert not set("\x1b\x9b\ud800") & set(said.out + said.err)
    code = ended.value.code
    assert isinstance(code, int | None)
    lines = [line for line in said.err.splitlines() if line.startswith("lab: ")]
    assert len(lines) == (1 if code else 0), said.err
    return code or 0, said.err


def _anywhere(value: Any, draw: random.Random) -> Any:
    """JSON with another value, or none, somewhere in it."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        if draw.random() < 0.15:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: _anywhere(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        i = draw.randrange(len(value))
        return [*value[:i], _anywhere(value[i], draw), *value[i + 1 :]]
    return draw.choice(_VALUES)


def _other_json(path: Path, draw: random.Random) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(_anywhere(json.loads(path.read_text()), draw)))
        return
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    i = draw.randrange(max(len(lines), 1))
    with contextlib.suppress(ValueError, IndexError):
        lines[i] = json.dumps(_anywhere(json.loads(lines[i]), draw)) + "\n"
    draw.shuffle(lines) if draw.random() < 0.2 else None
    path.write_text("".join(lines[: draw.choice([len(lines), i])]))


def _bytes(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Callable[[Path, random.Random], None]:
    return lambda path, draw: path.write_bytes(bytes(change(bytearray(path.read_bytes()), draw)))


def _instead(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, draw: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


def _flip(content: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice([1, 1, 5, 50])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return content


def _noise(content: bytearray, draw: random.Random) -> bytearray:
    i = draw.randrange(len(content))
    content[i : i + draw.choice([0, 10, 1000])] = draw.randbytes(draw.choice([1, 100, 5000]))
    return content


_DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "other JSON": _other_json,
    "cut": _bytes(lambda content, draw: content[: draw.randrange(len(content))]),
    "flipped": _bytes(_flip),
    "noise": _bytes(_noise),
    "empty": _bytes(lambda content, draw: b""),
    "zeros": _bytes(lambda content, draw: bytes(len(content))),
    "UTF-16": _bytes(lambda content, draw: content.decode(errors="replace").encode("utf-16")),
    "deep": _bytes(lambda content, draw: b'{"op_code": ' + b"[" * 5000 + b"]" * 5000 + b"}\n"),
    "deep mapping": _bytes(lambda content, draw: b'{"a": ' * 5000 + b"1" + b"}" * 5000),
    "gone": lambda path, draw: path.unlink(),
    "a folder": _instead(Path.mkdir),
    "a fifo": _instead(os.mkfifo),
    "a link to /dev/zero": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": _instead(lambda path: path.symlink_to(path.with_name("nothing"))),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
}
_NOW = {
    "written_at": 4e9,
    "driver": {"host": "h", "process": 1},
    "stage": "explore",
    "trials": {"closed": 1, "planned": 2, "running": 1},
    "repeated_epochs": 0,
    "lanes": [{"lane": 0, "state": "working", "slots": 1, "host": "h", "address": "a", "gpus": ["0"]}],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study that is trusted, so that nothing is refused for its being somebody else's."""
    folder = Path(shutil.copytree(_FINISHED, tmp_path_factory.mktemp("finished") / "run"))
    Study.open(folder, trust=True)
    (folder / NAME).parent.mkdir()
    (folder / NAME).write_text(json.dumps({**_NOW, "written_at": 0}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_damaged_folder_is_one_line_for_every_command(
    part: int, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Each folder has lost one of its files, or two, or has them changed."""
    codes: Counter[int] = Counter()
    for seed in range(part, _FOLDERS, 4):
        draw = random.Random(seed)
        folder = Path(shutil.copytree(finished, tmp_path / str(seed) / "run"))
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for path in draw.sample(files, draw.choice([1, 1, 2])):
            name = draw.choice(list(_DAMAGES)) if draw.random() < 0.5 else "other JSON"
            with contextlib.suppress(ValueError):  # a file that is no JSON
                _DAMAGES[name](path, draw)
        predict = ("predict", folder, "--input", _STUDIES / "new.csv")
        commands = [("study", "status", folder), predict if seed % 2 else ("study", "export", folder)]
        commands += [("study", "list", folder.parent), ("study", "report", folder)] if seed // 4 % 6 == 0 else []
        for command in commands:
            codes[_ended(capsys, *command)[0]] += 1
    assert set(codes) == {0, 2}
    assert codes[2] >= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["explore.json", "response.json", "confirm.json", "final.json", "ensemble.json", "task.json"]
)
def test_a_damaged_artefact_does_not_begin_a_stage_anew(name: str, finished: Path, tmp_path: Path, capsys: Any):
    for seed in range(6):
        draw = random.Random(seed)
        folder = Path(shutil.copytree(finished, tmp_path / str(seed)))
        _DAMAGES[draw.choice(["cut", "deep", "a fifo", "noise", "a link to /dev/zero", "a link to itself"])](
            folder / name, draw
        )
        journal = (folder / "ledger.journal").read_bytes()
        code, said = _ended(capsys, "study", "resume", folder)
        assert code == 2
        assert name in said
        assert (folder / "ledger.journal").read_bytes() == journal


@pytest.mark.parametrize("seed", range(40))
def test_a_live_status_of_other_types_is_not_shown(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw = random.Random(seed)
    study = Study.from_spec(small_spec(), tmp_path)
    write_spec(study.spec, study.record)
    (tmp_path / "lanes").mkdir()
    value = _anywhere({**_NOW, "written_at": time.time() - 1}, draw)
    (tmp_path / NAME).write_text(json.dumps(value))
    assert "resume" in describe_status(status_of(study)) or "now " in describe_status(status_of(study))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def without(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(RecordError) as refused:
        locked(tmp_path / ".lock", "me").__enter__()
    assert str(refused.value).startswith(
        f"{tmp_path}: its file system has no locks ({os.strerror(number)}), which keep two"
    )


def test_a_folder_that_may_not_be_entered_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    real = os.stat

    def denied(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{tmp_path}/run/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "stat", denied)  # whoever runs the tests may be root, who may enter everything
    for command in ("status", "resume", "report", "export"):
        line = refuse(capsys, monkeypatch, "study", command, tmp_path / "run")
        assert line == f"{tmp_path}/run/study.yaml: Permission denied"


def test_a_working_directory_that_is_deleted_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    line = refuse(capsys, monkeypatch, "study", "status", "run")
    assert line == "the working directory is deleted; change to another"


def test_names_that_are_no_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(_FINISHED, folder / "run")
    assert _ended(capsys, "study", "list", folder)[0] == 0
    for command in ("status", "report", "resume"):
        line = refuse(capsys, monkeypatch, "study", command, folder / "run")
        assert "U+DCE9, which no file can hold" in line
    moved = shutil.move(folder / "run", tmp_path / "run")
    (Path(moved) / "final" / os.fsdecode(b"\xff.safetensors")).write_bytes(b"")
    for command in ("status", "report"):
        assert _ended(capsys, "study", command, moved)[0] == 0


def test_a_folder_of_pipes_is_no_study(tmp_path: Path):
    record = Record(tmp_path)
    for path in (record.spec_path, record.journal_path):
        os.mkfifo(path)
    with pytest.raises(RecordError, match="holds no study"):
        record.require()
