"""What a result was made with: versions, machine, commit."""

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
    """By name; the commit only where the package runs from a git checkout."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": processor(),
        **inherited(),
    }
    packages = {"lab": DISTRIBUTION} | {name: name for name in ("torch", "ray", "optuna", "scikit-learn")}
    for name, distribution in packages.items():
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(distribution)
    # A machine without git, or an installed package, has no commit to tell.
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        found["commit"] = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    return found


def processor() -> str:
    """The processor's name, on which the last bits of every number depend; its kind where the system has no name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
