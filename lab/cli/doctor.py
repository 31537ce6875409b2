"""`lab doctor`: what this machine has, and what would keep a study from running."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

import lab
from lab.cli.answers import Doctor
from lab.cli.say import AsJson, say_answer
from lab.errors import DISTRIBUTION
from lab.record.provenance import processor
from lab.training.arithmetic import SETTING, branch_in_force, describe_setting

_PACKAGES = ("torch", "ray", "optuna", "scikit-learn", "pandas", "plotly", "wandb")
_OPTIONAL = ("plotly", "wandb")


def doctor(as_json: AsJson = False) -> None:
    """Print versions, CPU, GPU, Ray, W&B and whether the folder is writable; exit 1 where a study could not run."""
    facts = {
        "python": f"{platform.python_version()} on {platform.platform()}",
        "lab": f"{lab.__version__} ({DISTRIBUTION})",
    }
    fine = True
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            needed = package not in _OPTIONAL
            fine = fine and not needed
            facts[package] = f"missing{'' if needed else ' (optional)'}"
    problem = _unwritable(Path.cwd())
    facts |= {
        "cpu": f"{os.cpu_count()} cores, {processor()}",
        "numbers": _arithmetic(),
        "gpu": _gpu(),
        "ray at": _ray(),
        "W&B": _wandb(),
        "folder": f"{Path.cwd()} {problem or 'is writable'}",
    }
    fine = fine and not problem
    if as_json:
        say_answer(Doctor(fine, facts))
    else:
        for name, fact in facts.items():
            print(f"{name:9} {fact}")
    if not fine:
        raise typer.Exit(1)


def _gpu() -> str:
    try:
        from lab.training.accelerator import accelerator, count, name_of
    except ImportError:
        return "unknown, torch is missing"
    device = accelerator()
    return "none seen by torch" if device is None else f"{count()} x {name_of(device)}"


def _arithmetic() -> str:
    setting = os.environ.get(SETTING, "")
    try:
        branch = branch_in_force()
    except ImportError:
        branch = None
    return (
        f"{SETTING}={describe_setting(setting)}; matrix products: {branch or 'not those of an MKL that can be asked'}"
    )


def _ray() -> str:
    address = os.environ.get("RAY_ADDRESS")
    return f"cluster at {address} (RAY_ADDRESS)" if address else "no cluster in RAY_ADDRESS; a local one is started"


def _wandb() -> str:
    mode = os.environ.get("WANDB_MODE", "online")
    key = "set" if os.environ.get("WANDB_API_KEY") else "not set"
    return f"mode {mode}, WANDB_API_KEY {key}"


def _unwritable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"is not writable ({error.strerror})"
