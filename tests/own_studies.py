"""Small whole studies on a user's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.spec.study import parse_spec
from lab.study.study import Study
from tests.small import small

SPACE = {
    "max_lr": {"low": 1e-3, "high": 0.03, "log": True},
    "cycles": {"choice": [1, 2]},
    "dropout": {"low": 0.0, "high": 0.3},
}


def own_spec(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    return small(
        name="own",
        task=task,
        space=SPACE,
        batch_size=16,
        search={"trials": 4, "epochs": 2, "sampler": {"kind": "forest", "startup": 2}},
        confirm={"one_cycle": 1, "several": 1, "seeds": 2},
        final={"epochs": 4, "seeds": 1, "snapshots": 2},
        **more,
    )


def own_study(folder: Path, task: dict[str, Any]) -> Study:
    study = Study.from_spec(parse_spec(own_spec(task)), folder)
    study.run()
    return study
