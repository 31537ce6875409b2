"""What a process frees, it has at once when it asks again: counted in pages that the kernel had to clear."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_STEPS = """
import os, resource, sys
import torch
from lab.training.freed_memory import keep_freed_memory

def step():
    held = [torch.zeros(2**20) for _ in range(16)]  # 4 MiB each

def faults(what):
    if what == "keep":
        keep_freed_memory()
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for what in ("keep", "leave"):
    if not os.fork():  # so that neither has what the other freed
        print(faults(what), flush=True)
        os._exit(0)
    os.wait()
"""


def _faults(**settings: str) -> tuple[int, int]:
    """Where freed memory is kept, and where it is left to the kernel."""
    malloc = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    env = {name: value for name, value in os.environ.items() if not name.startswith(malloc)} | settings
    done = subprocess.run([sys.executable, "-c", _STEPS], env=env, check=True, capture_output=True)
    kept, left = map(int, done.stdout.split())
    return kept, left


GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
ITS_OWN = {"MALLOC_TRIM_THRESHOLD_": str(128 * 1024)}
"""What glibc begins with; said by a user, it stays so."""


@GLIBC
def test_a_step_has_the_memory_of_the_last_one():
    (kept, _), (_, left) = _faults(), _faults(**ITS_OWN)
    assert kept < left / 10


@GLIBC
@pytest.mark.parametrize(
    "settings", [ITS_OWN, {"GLIBC_TUNABLES": f"glibc.malloc.trim_threshold={128 * 1024}"}], ids=["variable", "tunable"]
)
def test_a_users_own_settings_are_left_alone(settings: dict[str, str]):
    kept, left = _faults(**settings)
    assert kept > left / 2
