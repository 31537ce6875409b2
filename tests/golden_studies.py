"""Two small whole studies whose every result is recorded in `tests/golden`.

They go through all stages, and between them through a range test, a sampler with a prior and one without, a pruner, a
conditional hyperparameter, several optimizers' updates, a response that is believed and one that is withheld. What they
decide on must not hang on a last digit: the settings to be tried do not depend on scores, and rates are so low, and
trials so far apart, that another processor ranks them alike. SGD trains the digits, since Adam would blow up the noise
that is all the gradient there is where a pixel is always dark.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import lab
from tests.portrait import portrait

GOLDEN = Path(__file__).parent / "golden"
_EXECUTION = {"engine": "local", "lanes": 1, "width": 4, "path": "stacked", "threads": 1, "device": "cpu"}
_CONFIRM = {"one_cycle": 1, "several": 1, "seeds": 2}
_FINAL = {"epochs": 4, "seeds": 1, "snapshots": 2}

DIGITS: dict[str, Any] = {
    "name": "digits",
    "task": "digits",
    "space": {
        "max_lr": {"low": 0.004, "high": 0.1, "log": True},
        "cycles": {"choice": [1, 2]},
        "dropout": {"low": 0.0, "high": 0.3},
    },
    "trials": 6,
    "epochs": 2,
    "optimizer": {"kind": "sgd"},
    # Trials of the start only: of a Sobol sequence, and every other one where the range test expects the best.
    "search": {"sampler": {"kind": "forest", "startup": 6, "prior": {"max_lr": {"from": "bounds"}}}},
    "bounds": {"seeds": 2, "weight_decays": [0.01], "steps": 60, "start": 1e-3, "end": 2.0},
}
TABLE: dict[str, Any] = {
    "name": "table",
    "task": {"kind": "table", "path": "table.csv", "target": "price", "layers": [16], "bins": 4},
    "space": {
        "max_lr": {"low": 1e-4, "high": 0.1, "log": True},
        "cycles": {"choice": [1, 2]},
        "dropout": {"low": 0.0, "high": 0.3, "when": {"cycles": [1]}},
    },
    "trials": 12,
    "epochs": 3,
    "batch_size": 16,
    "search": {
        "sampler": {"kind": "random"},
        "pruner": {"kind": "optuna:MedianPruner", "n_startup_trials": 4, "n_warmup_steps": 1},
    },
}
STUDIES = {study["name"]: study for study in (DIGITS, TABLE)}


def write_table(path: Path, rows: int = 240) -> None:
    """Two numbers and a category with gaps, and a price that follows from them."""
    random = np.random.default_rng(0)
    size, age = random.normal(size=rows).round(3), random.uniform(0, 9, rows).round(2)
    kind = random.choice(list("abc"), rows)
    price = (3 * size - 0.5 * age + 2 * (kind == "b") + random.normal(0, 0.3, rows)).round(3)
    lines = ["size,age,kind,price"]
    for row in range(rows):
        cells = ("" if row % 13 == 0 else size[row], age[row], "" if row % 17 == 0 else kind[row], price[row])
        lines.append(",".join(map(str, cells)))
    path.write_text("\n".join(lines) + "\n")


def run(name: str, around: Path) -> dict[str, Any]:
    """Run a study in a new folder inside `around`; its portrait."""
    settings = dict(STUDIES[name])
    if name == "table":
        write_table(around / "table.csv")
        settings["task"] = settings["task"] | {"path": str(around / "table.csv")}
    lab.Study(**settings, folder=around / name, confirm=_CONFIRM, final=_FINAL, execution=_EXECUTION).run()
    return portrait(around / name)


def golden_path(name: str) -> Path:
    return GOLDEN / f"{name}.json"


def recorded(name: str) -> dict[str, Any]:
    """The portrait in `tests/golden`."""
    value: dict[str, Any] = json.loads(golden_path(name).read_text())
    return value
