"""Small nets taught by a study's ensemble, beside the same nets trained on the labels alone for as many steps.

    python studies/benchmarks/distil.py --data FOLDER [--seeds 2] --out reports/distil

FOLDER holds tabular/adult_train.csv and tabular/adult_test.csv. Two students of each study are taught: one on given and
made-up rows, and one on the given rows alone, for as many steps.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measured import by_seed, listed, machine, versions

from lab.record.artefact import to_json
from lab.spec.study import parse_spec
from lab.study.distill import distill
from lab.study.distillation import LABELS, TAUGHT, Distillation
from lab.study.study import Study

SPACE: dict[str, dict[str, Any]] = {
    "max_lr": {"from": "bounds"},
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.6},
}
WORKLOADS: dict[str, dict[str, Any]] = {
    "digits": {"batch": 64, "trials": 32, "epochs": 20, "final": 40, "model": None},
    "adult, 10 %": {"batch": 64, "trials": 24, "epochs": 6, "final": 12, "model": "64,32", "share": 0.1},
    "adult": {"batch": 256, "trials": 16, "epochs": 5, "final": 8, "model": "64,32", "share": 1.0},
}
MADE_UP = 4


def run(name: str, data: Path, seed: int) -> dict[str, Any]:
    """A study, and its students."""
    of = WORKLOADS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task: dict[str, Any] = {"kind": "digits", "split_seed": seed}
        if "share" in of:
            rows = pd.read_csv(data / "tabular/adult_train.csv").sample(frac=of["share"], random_state=seed)
            rows.to_csv(folder / "train.csv", index=False)
            task = {"kind": "table", "path": str(folder / "train.csv"), "target": "income", "split": {"seed": seed}}
            task["test_path"] = str((data / "tabular/adult_test.csv").resolve())
        spec = {
            "name": "distil",
            "seed": seed,
            "task": task,
            "space": SPACE,
            "batch_size": of["batch"],
            "search": {"trials": of["trials"], "epochs": of["epochs"]},
            "confirm": {"several": 0},
            "final": {"epochs": of["final"], "snapshots": 1, "controls": "none"},
            "execution": {"engine": "local"},
        }
        study = Study.from_spec(parse_spec(spec), folder / "run")
        begin = time.process_time()
        study.run()
        middle = time.process_time()
        taught = distill(study, folder / "student", model=of["model"], made_up=MADE_UP)
        end = time.process_time()
        plain = distill(study, folder / "given", model=of["model"], made_up=0, epochs=of["final"] * (1 + MADE_UP))
        return {
            **_of(taught, ""),
            **_of(plain, "given rows alone, "),
            "chosen": to_json(taught.chosen),
            "tried": [to_json(one) for one in taught.tried],
            "ensemble": to_json(taught.ensemble),
            "student": to_json(taught.student),
            "study_cpu_s": middle - begin,
            "distill_cpu_s": end - middle,
        }


def _of(distillation: Distillation, what: str) -> dict[str, Any]:
    return {f"{what}{one.name}": one.test for one in distillation.tried if one.test is not None}


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The report."""
    lines, costs = [], []
    for name, runs in measured.items():
        ways = {
            "the ensemble": [run["ensemble"]["test"] for run in runs],
            "student, given and made-up rows": [run[TAUGHT] for run in runs],
            "student, given rows alone": [run[key] for run in runs if (key := f"given rows alone, {TAUGHT}") in run],
            "labels alone": [run[LABELS] for run in runs],
            "chosen by validation": [run["student"]["test"] for run in runs],
        }
        for way, scores in ((way, scores) for way, scores in ways.items() if scores):
            accuracy, nll = ([score[metric] for score in scores] for metric in ("accuracy", "nll"))
            each = ", ".join(f"{value:.4f}" for value in accuracy)
            lines.append(f"| {name} | {way} | {statistics.mean(accuracy):.4f} ({each}) | {statistics.mean(nll):.4f} |")
        for what in ("ensemble", "student"):
            one = statistics.median(run[what]["ms_per_row"]["1"] for run in runs)
            many = statistics.median(run[what]["ms_per_row"]["256"] for run in runs)
            size = statistics.median(run[what]["bytes"] for run in runs)
            costs.append(f"| {name} | {what} | {size:,.0f} | {one:.3f} | {many:.5f} |")
    seconds = "; ".join(
        f"{name} {statistics.median(run['distill_cpu_s'] for run in runs):.0f} beside "
        f"{statistics.median(run['study_cpu_s'] for run in runs):.0f}"
        for name, runs in measured.items()
    )
    scores_table, cost_table = "\n".join(lines), "\n".join(costs)
    return f"""# Students of an ensemble

Made by `studies/benchmarks/distil.py`, {max(map(len, measured.values()))} seeds each;
{listed(versions("lab", "torch", "scikit-learn"))}; {machine()}, {torch.get_num_threads()} thread.
Students of tables have hidden layers of 64 and 32 (the study's: 200 and 100), those of digits are one net as the study
has them. All have as many optimizer steps, but labels alone may choose a fifth of them by the validation rows.
Temperatures 1, 2 and 4 are tried with a teacher. All students and the ensemble are trained
on training and validation rows.

| data | model | test accuracy (seeds) | test negative log-likelihood |
|---|---|---|---|
{scores_table}

| data | model | bytes | ms a row, one at a time | ms a row, 256 at once |
|---|---|---|---|---|
{cost_table}

CPU seconds of `lab distill` beside those of the study: {seconds}.
"""


if __name__ == "__main__":
    by_seed(__doc__, WORKLOADS, 2, run, page)
