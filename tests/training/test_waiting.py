"""Threads that wait for each other leave the core to whoever works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.training.waiting import OF_ALL, SETTINGS, settle_waiting, waiting
from tests.small import environment


@pytest.fixture
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OF_ALL, *SETTINGS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("nothing_said")
def test_threads_look_for_each_other_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:  # so that they are taken away again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settle_waiting()
    assert {name: os.environ[name] for name in SETTINGS} == SETTINGS
    assert OF_ALL not in os.environ


@pytest.mark.parametrize("name", [OF_ALL, *SETTINGS])
@pytest.mark.usefixtures("nothing_said")
def test_what_the_user_asks_for_stays_and_nothing_is_added(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    settle_waiting()
    assert waiting() == dict.fromkeys((OF_ALL, *SETTINGS)) | {name: "7"}


def test_the_import_settles_it_before_torch_is_there() -> None:
    show = "import lab, os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    clean = {name: value for name, value in environment().items() if name not in (OF_ALL, *SETTINGS)}
    done = subprocess.run([sys.executable, "-c", show], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == f"{SETTINGS['GOMP_SPINCOUNT']} False\n"
