"""`python -m tests.renew_golden` records anew what the two studies of `test_golden.py` give, where that was to change.

The study folders in `tests/golden/studies` are not renewed: earlier versions wrote them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.golden_studies import STUDIES, golden_path, run

_DIGITS = 7
_LINES_TO = 2
"""Levels whose entries have a line each, so that a change can be read."""


def _dump(value: Any, level: int = 0) -> str:
    if isinstance(value, float):
        return json.dumps(float(f"{value:.{_DIGITS}g}"))
    below = "\n" if level < _LINES_TO else ""
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}:{_dump(entry, level + 1)}" for key, entry in value.items()]
        return "{" + below + f",{below}".join(entries) + "}"
    if isinstance(value, list):
        return "[" + below + f",{below}".join(_dump(entry, level + 1) for entry in value) + "]"
    return json.dumps(value)


def main() -> None:
    torch.set_num_threads(1)
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as around:
            portrait = run(name, Path(around).resolve())
        golden_path(name).write_text(_dump(portrait) + "\n")


if __name__ == "__main__":
    main()
