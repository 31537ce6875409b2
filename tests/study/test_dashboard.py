"""Optuna's dashboard on a study: what it shows, and that it can change nothing."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.errors import EngineError
from lab.lanes.local import LocalEngine
from lab.record.folder import Record
from lab.record.journal import FollowedJournal, TransactionalJournal
from lab.spec.plan import SearchPlan
from lab.study.dashboard import Server, server
from tests.lanes.test_engines import job
from tests.small import lab, small, start_lab, write_yaml

pytest.importorskip("optuna_dashboard")


@contextmanager
def serving(record: Record) -> Iterator[Server]:
    with server(record, None, 0) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join()


def ask(served: Server, path: str, method: str = "GET", body: Any = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    address = served.url.removesuffix("/dashboard") + path
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("study")
    LocalEngine(1, lambda progress: True).run(job(folder, plan=SearchPlan({"kind": "random"}, {}, 8, 2)))
    return Record(folder)


def test_it_shows_every_trial_and_its_outcome(study: Record) -> None:
    with serving(study) as served:
        (summary,) = ask(served, "/api/studies")["study_summaries"]
        assert summary["study_name"] == "explore"
        trials = ask(served, f"/api/studies/{summary['study_id']}")["trials"]
        importances = ask(served, f"/api/studies/{summary['study_id']}/param_importances")
    assert [trial["state"] for trial in trials] == ["Complete"] * 8
    assert {len(trial["intermediate_values"]) for trial in trials} == {2}
    assert {entry["name"] for entry in importances["param_importances"][0]} == {"max_lr", "cycles", "dropout"}


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        ("/api/studies/0", "DELETE", None),
        ("/api/studies/0/rename", "POST", {"study_name": "other"}),
        ("/api/studies/0/note", "PUT", {"body": "a note", "version": 1}),
        ("/api/trials/0/tell", "POST", {"state": "Fail"}),
        ("/api/studies", "POST", {"study_name": "new", "directions": ["minimize"]}),
    ],
)
def test_it_refuses_to_change_anything(study: Record, path: str, method: str, body: Any) -> None:
    before = study.journal_path.read_bytes()
    with serving(study) as served:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(served, path, method, body)
        assert refused.value.code == 403
        assert b"only looks" in refused.value.read()
        refused.value.close()
    assert study.journal_path.read_bytes() == before


def test_a_journal_is_followed_to_its_last_complete_transaction(tmp_path: Path) -> None:
    path = tmp_path / "ledger.journal"
    followed, entries = FollowedJournal(path), [{"op_code": 0, "n": n} for n in range(4)]
    assert list(followed.read_logs(0)) == []
    writer = TransactionalJournal(path)
    writer.append_logs(entries[:1])
    assert list(followed.read_logs(0)) == entries[:1]
    with open(path, "ab") as file:
        file.write(b'{"op_code":0,"n":1} \n{"op_code":0,"n')
    assert list(followed.read_logs(1)) == []
    with open(path, "ab") as file:
        file.write(b'":2}\n')
    assert list(followed.read_logs(1)) == entries[1:3]
    assert list(followed.read_logs(3)) == []
    with pytest.raises(NotImplementedError):
        followed.append_logs(entries[3:])


def test_a_port_that_is_taken_is_one_line(study: Record) -> None:
    with server(study, None, 0) as first, pytest.raises(EngineError, match=r"^--port: \d+ cannot be had"):
        server(study, None, first.server_port)


def _browser(url: str, profile: Path) -> str:
    """What a page holds after its scripts have run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"]
    command += ["--virtual-time-budget=15000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_shows_the_trials_of_a_running_study(tmp_path: Path) -> None:
    # Too many trials for the time that this takes: the study is stopped.
    value = small(
        space={"max_lr": {"low": 0.001, "high": 0.3, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
        search={"sampler": {"kind": "random"}, "trials": 5000, "epochs": 9},
    )
    folder = tmp_path / "run"
    running = start_lab("study", "run", write_yaml(tmp_path / "study.yaml", value), "--dir", folder)
    shown = None
    try:
        journal, deadline = Record(folder).journal_path, time.monotonic() + 120
        while not (journal.exists() and journal.read_bytes().count(b'"outcome":"completed"') >= 4):
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        shown = start_lab("study", "dashboard", folder, "--port", "0")
        assert shown.stdout is not None
        url = shown.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        studies = _browser(url, tmp_path / "profile-1")
        trials = _browser(f"{url}/studies/0/trials", tmp_path / "profile-2")
        assert running.poll() is None, "it was to be looked at while it runs"
        status = lab("study", "status", folder).stdout
    finally:
        if shown is not None:
            shown.terminate()  # a shell's background process is deaf to Ctrl-C
            shown.communicate(timeout=20)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[0]
    assert "explore" in studies
    assert "Trial 0" in trials
    assert "max_lr" in trials
    assert "Complete" in trials
    assert running.returncode == 130
    assert f"lab study dashboard {folder}" in said
    assert f"lab study dashboard {folder}" in status


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost", True), ("127.0.0.1:9000", True), ("[::1]:80", True)]
    + [(host, False) for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil", "")],
)
def test_a_page_that_has_its_own_name_lead_here_is_told_nothing(host: str, allowed: bool, study: Record) -> None:
    with serving(study) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=30)
        connection.putrequest("GET", "/api/studies", skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    assert answer.status == (200 if allowed else 403)
    assert (b"explore" in body) is allowed
