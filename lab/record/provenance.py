"""The versions, the machine and the commit that a result was made with."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lab.errors import DISTRIBUTION
from lab.training.arithmetic import inherited


def provenance() -> dict[str, Any]:
    """Versions and machine by name. The commit is in it where the package runs from a git checkout."""
    origins: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": processor(),
        **inherited(),
        **versions(),
    }
    # A machine without git, or an installed package, has no commit to tell.
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        origins["commit"] = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    return origins


def versions() -> dict[str, str]:
    """Versions of this package and of those that it computes with, by name."""
    packages = {"lab": DISTRIBUTION} | {name: name for name in ("torch", "ray", "optuna", "scikit-learn")}
    installed: dict[str, str] = {}
    for name, distribution in packages.items():
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(distribution)
    return installed


def processor() -> str:
    """The processor's name, on which the last bits of every number depend; its kind where the system has no name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
