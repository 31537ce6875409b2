"""What a study found, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lab.results import trials_frame, write_trials
from lab.spec import parse_spec
from lab.study import Study

TASK = """
from collections.abc import Iterator
import lab

@lab.trial_function(metric="score", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    yield {"score": float(trial.params["pool"] == "max") + trial.params["max_lr"]}
"""


def test_a_choice_of_several_types_is_text_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    value: dict[str, Any] = {
        "name": "mixed",
        "task": {"kind": f"{tmp_path}/task.py:train", "root": "/"},
        "space": {
            "max_lr": {"low": 0.1, "high": 0.2},
            "pool": {"choice": [False, "max", 3]},
            "size": {"choice": [1, 2]},
            "share": {"choice": [1, 2.5]},
        },
        "search": {"sampler": {"kind": "random"}, "trials": 12, "epochs": 1},
        "execution": {"engine": "local", "lanes": 1},
    }
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explore")
    frame = trials_frame(study.spec, study.record, ("explore",))
    assert set(frame["params_pool"]) == {"False", "max", "3"}
    assert frame["params_size"].dtype.kind == "i"
    assert frame["params_share"].dtype.kind == "f"
    write_trials(study.spec, study.record, ("explore",))
    kept = pd.read_parquet(study.record.folder / study.record.TRIALS)
    assert list(kept["params_pool"]) == list(frame["params_pool"])
