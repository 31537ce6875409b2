"""Studies small enough for tests, and the ways tests run them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from lab.spec.study import StudySpec, parse_spec
from tests import forked

ROOT = Path(__file__).parent.parent

SMALL: dict[str, Any] = {
    "name": "small",
    "task": {"kind": "digits"},
    "space": {
        "max_lr": {"from": "bounds"},
        "cycles": {"choice": [1, 2]},
        "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
    },
    "bounds": {"seeds": 2, "weight_decays": [0.01], "steps": 60, "start": 1e-5},
    "search": {"sampler": {"kind": "forest", "startup": 4}, "trials": 12, "epochs": 3},
    "confirm": {"one_cycle": 2, "several": 1, "seeds": 2},
    "final": {"epochs": 4, "seeds": 2, "snapshots": 2},
    "execution": {"engine": "local", "lanes": 1, "width": 4, "path": "stacked", "checkpoint_s": 0.1},
}


def small(**changes: Any) -> dict[str, Any]:
    """The small study with sections updated (`search={"trials": 4}`) or replaced (`task="..."`)."""
    value = dict(SMALL)
    for name, change in changes.items():
        both = isinstance(change, dict) and isinstance(value.get(name), dict) and name != "space"
        value[name] = {**value[name], **change} if both else change
    return value


def small_spec(**changes: Any) -> StudySpec:
    return parse_spec(small(**changes))


def write_yaml(path: Path, value: dict[str, Any]) -> Path:
    """A spec file; JSON is YAML."""
    import json

    path.write_text(json.dumps(value))
    return path


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline", "COLUMNS": "200"}


def lab(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return forked.run(["-m", "lab", *map(str, arguments)], environment() | env, cwd)


def start_lab(*arguments: str | Path) -> forked.Process:
    """Start the command line and leave it running."""
    return forked.start(["-m", "lab", *map(str, arguments)], environment())
