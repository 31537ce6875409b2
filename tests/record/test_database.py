"""A team's PostgreSQL, started here for real: one driver at a time, no trial run twice, no password anywhere."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lab.record.ledger
from lab.errors import RecordError, SpecError
from lab.lanes.job import make_job
from lab.lanes.local import LocalEngine
from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.trials import read_trials
from lab.spec.plan import SearchPlan, Store
from lab.spec.study import StudySpec, parse_spec
from lab.study.study import Study
from tests.lanes.test_engines import job
from tests.small import lab as run_lab
from tests.small import small, start_lab, write_yaml

SECRET = "correct-horse-battery"


def _binaries() -> Path | None:
    program = shutil.which("initdb")
    folders = [Path(program).parent] if program else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@dataclass(frozen=True)
class Server:
    url: str
    log: Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not pytest's own folder, which no other user may enter.
    scratch = tempfile.TemporaryDirectory(prefix="lab-postgres-")
    folder = Path(scratch.name)
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
            pytest.skip("PostgreSQL cannot run as root, and there is no user 'postgres'")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password, log = folder / "password", folder / "log"
    password.write_text(SECRET)
    password.chmod(0o644)
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "lab", "--auth=scram-sha-256", f"--pwfile={password}", "-N"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=folder)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = [*as_user, binaries / "pg_ctl", "-D", data, "-l", log, "-w"]
    subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, cwd=folder)
    before = os.environ.get("PGPASSWORD")
    os.environ["PGPASSWORD"] = SECRET
    yield Server(f"postgresql://lab@127.0.0.1:{port}/postgres", log)
    if before is None:
        del os.environ["PGPASSWORD"]
    subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
    scratch.cleanup()


def _spec(server: Server, **changes: Any) -> dict[str, Any]:
    space = {"max_lr": {"low": 0.001, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
    search = {"sampler": {"kind": "random"}, "trials": 12, "epochs": 20}
    return {**small(space=space, search=search, storage=server.url), **changes}


def _rows(spec: StudySpec, folder: Path) -> list[Any]:
    return [
        (r.number, r.params, r.outcome, r.score, r.curve, r.trial.seed)
        for r in read_trials(Record(folder), "explore", spec.store)
    ]


@pytest.mark.slow
def test_a_second_driver_is_refused_and_takes_over_from_a_dead_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = _spec(server)
    spec, path = parse_spec(value), write_yaml(tmp_path / "study.yaml", value)
    command = ["study", "run", str(path), "--dir", str(tmp_path / "first"), "--until", "explore"]
    first = start_lab(*command)
    try:
        while sum(1 for row in read_trials(Record(tmp_path / "none"), "explore", spec.store) if row.outcome) < 2:
            assert first.poll() is None
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGSTOP)  # it holds on, and does not end before we have looked
        monkeypatch.setattr(lab.record.ledger, "_WAIT_S", 0.3)
        plan = SearchPlan(spec.search.sampler, spec.search.pruner, 12, 20)
        engine = LocalEngine(1, lambda progress: True)
        stolen = make_job(spec, Record(tmp_path / "refused"), engine, "explore", plan, spec.space)
        message = rf"stage 'explore' of this study is in use by lab on \S+, process {first.pid} \(127.0.0.1.*since 2"
        with pytest.raises(RecordError, match=message):
            Ledger(stolen)
    finally:
        first.kill()
        said, _ = first.communicate()
    second = run_lab("study", "run", path, "--dir", tmp_path / "second", "--until", "explore")
    assert second.returncode == 0, second.stderr
    undisturbed = parse_spec({k: v for k, v in value.items() if k != "storage"})
    Study.from_spec(undisturbed, tmp_path / "local").run(until="explore")
    # A database has no transaction over all that handing out a trial takes: one that the first driver had asked for
    # and not handed out when it was killed is given up, or planned anew under the next number. Seeds tell what is what.
    resumed = {seed: rest for _, *rest, seed in _rows(spec, tmp_path / "second")}
    alone = {seed: rest for _, *rest, seed in _rows(undisturbed, tmp_path / "local")}
    assert len(resumed) == len(alone) == 12
    both = resumed.keys() & alone.keys()
    assert len(both) >= 11
    assert {seed: resumed[seed] for seed in both} == {seed: alone[seed] for seed in both}
    said += second.stdout + second.stderr
    files = [p for folder in ("first", "second") for p in (tmp_path / folder).rglob("*") if p.is_file()]
    assert files
    assert not [p for p in files if SECRET.encode() in p.read_bytes()]
    assert SECRET not in said


def test_a_stage_in_the_database_gives_the_values_of_the_journal(server: Server, tmp_path: Path) -> None:
    store = Store(server.url, "values")
    LocalEngine(2, lambda progress: True).run(job(tmp_path / "a", store=store, lanes=2))
    LocalEngine(2, lambda progress: True).run(job(tmp_path / "b", lanes=2))

    def table(folder: Path, store: Store | None) -> list[Any]:
        rows = read_trials(Record(folder), "explore", store)
        return [(r.number, r.params, r.outcome, r.score, r.curve) for r in rows]

    assert table(tmp_path / "a", store) == table(tmp_path / "b", None)
    assert len(table(tmp_path / "a", store)) == 9


def test_a_wrong_password_is_one_line_without_it(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong-" + SECRET)
    with pytest.raises(RecordError, match=r"^storage: the postgresql database cannot be opened") as caught:
        Ledger(job(tmp_path, store=Store(server.url, "x")))
    assert SECRET not in str(caught.value)


def test_a_ledger_that_lost_its_connection_writes_nothing_more(server: Server, tmp_path: Path) -> None:
    import sqlalchemy

    ledger = Ledger(job(tmp_path, store=Store(server.url, "lost")))
    engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        me = sqlalchemy.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lab on %'"
        )
        assert connection.execute(me).scalar()
    engine.dispose()
    with pytest.raises(RecordError, match=r"^storage: lost the connection .* resume when it is back"):
        ledger.next(0, 0, (0,))
    ledger.release()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@h/db",
        f"postgresql://u%3A{SECRET}@h/db",
        f"postgresql://u%253A{SECRET}@h/db",
        f"postgresql://h/db?user=u&password={SECRET}",
        f"postgresql://h/db?p%61ssword={SECRET}",
        f"mysql://h/db?PASSWD={SECRET}",
        f"mysql://h/db?pw={SECRET}",
        f"mysql://h/db;pwd={SECRET}",
        f"postgresql://h/db?sslpassword={SECRET}",
        f"postgresql://h/db#password={SECRET}",
        f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{SECRET}",
        f"mysql://h/db?auth_token={SECRET}",
    ],
)
def test_a_password_in_the_spec_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SpecError, match=r"^storage: holds a password; leave it out") as caught:
        parse_spec(small(storage=url))
    assert SECRET not in str(caught.value)


def test_a_second_ledger_on_a_sqlite_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.record.ledger, "_WAIT_S", 0.1)
    store = Store(f"sqlite:///{tmp_path}/trials.db", "mine")
    first = Ledger(job(tmp_path / "a", store=store))
    with pytest.raises(RecordError, match="in use by the ledger of stage 'explore'"):
        Ledger(job(tmp_path / "b", store=store))
    other = Ledger(job(tmp_path / "b", store=Store(store.url, "another's")))
    other.release()
    first.release()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h:5432/db?sslmode=require&host=a&connect_timeout=3",
        "postgresql://h/db?passfile=/home/u/.pgpass",
        "sqlite:////tmp/passed/x.db",
    ],
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    assert parse_spec(small(storage=url)).storage == url
