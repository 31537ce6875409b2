"""A folder from somebody else is looked at: its code is not run, its database not asked, no link followed."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.errors import TRUST, RecordError, TaskError, one_line, plain
from lab.record import trust
from lab.record.folder import Record, locked, read_json, write_json
from lab.record.spec_file import dump_spec
from lab.spec.study import parse_spec
from lab.study.going_on import write_spec
from lab.study.study import Study
from tests.cli.refusal import refuse
from tests.small import ROOT, small

_FINISHED = ROOT / "tests" / "golden" / "studies" / "finished"
_RANGE = {"max_lr": {"low": 0.01, "high": 0.1}}
_CODE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nfrom lab.tasks.digits import Digits as Task\n"


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Whoever calls it becomes another user, or is on another machine."""
    return lambda: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))


def begun(folder: Path, **changes: Any) -> Record:
    """A study of mine, begun and no more."""
    study = Study.from_spec(parse_spec(small(space=_RANGE, **changes)), folder)
    write_spec(study.spec, study.record)
    return study.record


def rewritten(record: Record, **changes: Any) -> None:
    """Its spec as somebody else has written it."""
    spec = Study.open(record.folder).spec
    record.spec_path.write_text(dump_spec(parse_spec({**spec.model_dump(mode="json"), **changes})))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that somebody would be connected to."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setblocking(False)
        yield server


def _left(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_a_study_of_mine_is_mine_wherever_it_is_moved_and_whatever_else_its_spec_says(tmp_path: Path):
    record = begun(tmp_path / "run")
    assert not Study.open(record.folder).is_foreign
    assert (trust._key_path().stat().st_mode & 0o777) == 0o600
    moved = Path(shutil.move(record.folder, tmp_path / "moved"))
    rewritten(Record(moved), batch_size=32)
    assert not Study.open(moved).is_foreign


@pytest.mark.parametrize(
    "change",
    [
        {"storage": "postgresql://evil/db"},
        {"task": "evil.py:Task"},
        {"task": "antigravity:Task"},
        {"task": {"kind": "digits", "metric": "evil.py:score", "direction": "maximize"}},
    ],
)
def test_a_spec_that_another_has_given_code_or_a_database_is_not_mine_any_more(change: dict[str, Any], tmp_path: Path):
    record = begun(tmp_path / "run")
    rewritten(record, **change)
    assert Study.open(record.folder).is_foreign


def test_another_user_looks_at_a_study_and_changes_nothing(
    another: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    record = begun(tmp_path / "run")
    another()
    before = _left(record.folder)
    for command in (["resume"], ["resume", "--set", "seed=0"], ["extend", "--trials", "+2"]):
        line = refuse(capsys, monkeypatch, "study", command[0], record.folder, *command[1:])
        assert line.endswith(f"you have not begun this study here, so it is only looked at; {TRUST}")
    assert _left(record.folder) == before
    assert Study.open(record.folder, trust=True).is_foreign is False
    assert Study.open(record.folder).is_foreign is False
    Study.open(record.folder).run(until="bounds")


def test_whoever_asks_the_same_in_a_spec_of_their_own_goes_on(another: Callable[[], None], tmp_path: Path):
    """As a job does that is placed on another machine of a cluster, where its user has another home."""
    record = begun(tmp_path / "run")
    another()
    Study.from_spec(parse_spec(small(space=_RANGE)), record.folder).run(until="bounds")
    assert not Study.open(record.folder).is_foreign
    shutil.rmtree(trust._key_path().parent)
    record.journal_path.unlink(missing_ok=True)
    record.journal_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match=r"ledger\.journal: is a link, and would be written through; put a file"):
        Study.from_spec(parse_spec(small(space=_RANGE)), record.folder).run(until="bounds")
    assert not (tmp_path / "elsewhere").exists()


def test_code_that_a_folder_names_is_not_run(another: Callable[[], None], tmp_path: Path):
    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    (tmp_path / "task.py").write_text(_CODE)
    spec = Study.open(folder).spec.model_dump(mode="json")
    for task in (
        {"kind": "task.py:Task", "root": str(tmp_path)},
        {**spec["task"], "metric": f"{tmp_path / 'task.py'}:score", "direction": "maximize"},
        {"kind": "images", "path": "x", "model": "timm:hf-hub:evil/net"},
    ):
        (folder / "study.yaml").write_text(dump_spec(parse_spec({**spec, "task": task})))
        study = Study.open(folder)
        with pytest.raises(RecordError, match=r"runs code that the study's folder names, .*; if you trust .*--trust"):
            _ = study.result.ensemble
        assert not (tmp_path / "ran").exists()
    task = {"kind": "task.py:Task", "root": str(tmp_path)}
    (folder / "study.yaml").write_text(dump_spec(parse_spec({**spec, "task": task})))
    with pytest.raises((RecordError, TaskError, KeyError, TypeError)):  # it has another study's weights
        Study.open(folder, trust=True).result.ensemble.predict([[0.0] * 64])
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", ["status", "report", "export", "dashboard"])
def test_a_database_that_a_folder_names_is_not_connected_to(
    command: str,
    listener: socket.socket,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("PGPASSWORD", "mine")
    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    rewritten(Record(folder), storage=f"postgresql://127.0.0.1:{listener.getsockname()[1]}/x")
    line = refuse(capsys, monkeypatch, "study", command, folder)
    assert "the trials are in a database that the study's folder names, which you have not begun here; if you" in line
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_sqlite_file_is_not_written_by_who_looks_and_not_opened_if_it_is_anothers(
    another: Callable[[], None], tmp_path: Path
):
    database = tmp_path / "any.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = database.read_bytes()
    record = begun(tmp_path / "run", storage=f"sqlite:///{database}")
    assert len(Study.open(record.folder).result.trials) == 0
    missing = begun(tmp_path / "other", storage=f"sqlite:///{tmp_path / 'none.db'}")
    assert len(Study.open(missing.folder).result.trials) == 0
    assert not (tmp_path / "none.db").exists()
    another()
    with pytest.raises(RecordError, match="which you have not begun here"):
        _ = Study.open(record.folder).result.trials
    assert database.read_bytes() == before


@pytest.mark.parametrize("name", ["study.yaml", "ledger.journal", "task.json", "final/0000-0.safetensors", "lanes"])
def test_no_link_out_of_anothers_folder_is_followed(name: str, tmp_path: Path):
    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    out = tmp_path / "out"
    if (folder / name).exists():
        shutil.move(folder / name, out)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(out)
    with pytest.raises(RecordError, match=f"{name}: is a link out of the study's folder"):
        Study.open(folder)


@pytest.mark.parametrize("name", ["ledger.journal", "lanes/now.json", "final/0000-0.safetensors", "study.yaml"])
def test_a_link_is_not_written_through_in_a_folder_of_mine_that_somebody_had(name: str, tmp_path: Path):
    record = begun(tmp_path / "run")
    target = tmp_path / "precious"
    target.write_text(record.spec_path.read_text())
    (record.folder / name).unlink(missing_ok=True)
    (record.folder / name).parent.mkdir(exist_ok=True)
    (record.folder / name).symlink_to(target)
    with pytest.raises(RecordError, match=f"{name}: is a link, and would be written through"):
        Study.open(record.folder).run(until="bounds")
    assert target.read_text().startswith("name: small")


@pytest.mark.parametrize("file", ["../../secret.safetensors", "/etc/hostname", "", ".", ".."])
def test_weights_that_an_artefact_has_elsewhere_are_not_read(file: str, tmp_path: Path):
    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    artefact = read_json(folder / "ensemble.json")
    artefact["chosen"]["members"][0]["file"] = file
    write_json(folder / "ensemble.json", artefact)
    ensemble = Study.open(folder).result.ensemble
    x = ensemble.read(_FINISHED.parent / "new.csv").x
    with pytest.raises(RecordError, match=r"is no name of a file in it|cannot be read"):
        ensemble.predict(x)


def test_a_lock_that_is_a_link_or_a_fifo_is_not_taken(tmp_path: Path):
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "none").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    for name, said in (("link", "is a link"), ("none", "is a link"), ("fifo", "is no file")):
        with pytest.raises(RecordError, match=f"{name}: {said}, and.* no lock; delete it"):
            locked(tmp_path / name, "me").__enter__()
    assert target.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"signed": 3}', b'{"signed": [3, null, "\xc3\xa9"]}', b"\xff"])
def test_a_signature_that_is_none_makes_a_folder_nobodys(content: bytes, tmp_path: Path):
    record = begun(tmp_path / "run")
    (record.folder / Record.TRUST).write_bytes(content)
    assert Study.open(record.folder).is_foreign


def test_a_spec_put_right_before_anything_is_trained_stays_mine(tmp_path: Path):
    """Whichever of both the folder holds when the process is killed between the two."""
    record = begun(tmp_path / "run", storage=f"sqlite:///{tmp_path / 'a.db'}")
    old = record.spec_path.read_text()
    begun(tmp_path / "run")
    assert not Study.open(record.folder).is_foreign
    record.spec_path.write_text(old)
    assert not Study.open(record.folder).is_foreign
    assert len(read_json(record.folder / Record.TRUST)["signed"]) == 2


def test_without_a_home_a_study_runs_and_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    record = begun(tmp_path / "run")
    assert not (record.folder / Record.TRUST).exists()
    assert Study.open(record.folder).is_foreign


def test_what_a_terminal_would_take_for_commands_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from lab.cli import main

    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    explored = read_json(folder / "explore.json")
    write_json(folder / "explore.json", {**explored, "ended": "\x1b[2J\x9bevil\u202e"})
    (tmp_path / "x\x1b]0;owned\x07").symlink_to(folder)
    for path in (folder, tmp_path / "x\x1b]0;owned\x07"):
        monkeypatch.setattr("sys.argv", ["lab", "study", "status", str(path)])
        with pytest.raises(SystemExit):
            main()
        said = capsys.readouterr()
        assert "bounds" in said.out
        assert not set("\x1b\x9b\x07\u202e") & set(said.out + said.err)


def test_a_message_is_one_line_that_can_be_read():
    assert plain("a\x00\x1b[31mb\tc\n\ud800") == "a[31mb\tc\n\ufffd"
    assert one_line("a\n\n  b\x07") == "a b"
    assert len(one_line("x" * 10_000_000)) < 2100


def test_what_a_trial_raised_is_no_formula_in_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from lab.cli import main

    folder = Path(shutil.copytree(_FINISHED, tmp_path / "run"))
    journal = folder / "ledger.journal"
    journal.write_text(journal.read_text().replace('"role":"search"', '"role":"=HYPERLINK(1)"'))
    monkeypatch.setattr("sys.argv", ["lab", "study", "export", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    written = (folder / "trials.csv").read_text()
    assert written.count(",'=HYPERLINK(1),") == 9
    assert ",=" not in written
