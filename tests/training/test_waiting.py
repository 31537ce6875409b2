"""Threads that wait for each other leave the core to whoever works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.training.waiting import SETTING, settle_waiting
from tests.small import environment


def test_threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    settle_waiting()
    assert os.environ[SETTING] == "PASSIVE"


def test_what_the_user_asks_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "ACTIVE")
    settle_waiting()
    assert os.environ[SETTING] == "ACTIVE"


def test_the_import_settles_it_before_torch_is_there() -> None:
    show = f"import lab, os, sys; print(os.environ['{SETTING}'], 'torch' in sys.modules)"
    clean = {name: value for name, value in environment().items() if name != SETTING}
    done = subprocess.run([sys.executable, "-c", show], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "PASSIVE False\n"
