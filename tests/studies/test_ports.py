"""Scripts that people have, as tasks: they pass the contract, learn, and predict from a finished study."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from lab.cli.main import main
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.checks import check_task
from lab.tasks.task import Task
from tests.small import ROOT, small

PORTS = {
    "mnist": ("Mnist", (8, 1, 8, 8), "accuracy", 0.75),
    "segmentation": ("Discs", (8, 1, 24, 24), "iou", 0.5),
    "image_regression": ("Stripes", (8, 1, 16, 16), "degrees_off", 15.0),
}
"""The task, the shape of inputs, its metric, and what it reaches in a few epochs."""


@pytest.mark.slow
@pytest.mark.parametrize("port", PORTS)
def test_a_ported_script_is_short_trains_and_predicts(port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name, shape, metric, reached = PORTS[port]
    file = ROOT / "studies" / "ports" / f"{port}.py"
    assert len(file.read_text().splitlines()) <= 60
    monkeypatch.syspath_prepend(str(file.parent))
    task: Task = getattr(importlib.import_module(port), name)()
    check_task(task, {"dropout": 0.1})
    value = small(
        name=port,
        task=f"{file}:{name}",
        space={"max_lr": {"low": 0.01, "high": 0.03, "log": True}, "dropout": {"low": 0.0, "high": 0.2}},
        batch_size=32,
        search={"trials": 2, "epochs": 3, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 6, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
    )
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    score = study.run().summary.handed
    assert score is not None
    assert score.score > reached if task.direction == "maximize" else score.score < reached, score
    assert metric == task.metric
    np.savez(tmp_path / "new.npz", x=np.zeros(shape, dtype=np.float32))
    command = ["lab", "predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.npz")]
    monkeypatch.setattr("sys.argv", [*command, "--output", str(tmp_path / "p.npz")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    with np.load(tmp_path / "p.npz") as arrays:
        predicted = next(iter(arrays.values()))
    assert predicted.shape == (shape[0], *task.data("test")[1].shape[1:], *((10,) * (port == "mnist")))
