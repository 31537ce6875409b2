"""Planted label errors: how many `lab study suspects` finds, beside what else would rank the labels.

    python studies/benchmarks/suspects.py --data FOLDER [--seeds 2] --out reports/suspects

FOLDER holds tabular/adult_train.csv and tabular/bike_sharing_hour.csv. 5 % of the labels are replaced: a class by
another one, a number by that of another row. All ways rank the same rows of training and validation; precision is that
among as many rows as errors were planted there.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measured import by_seed, listed, machine, versions
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.study.suspects import Suspects, suspects
from lab.tasks.digits import Digits
from lab.tasks.table.task import Table
from lab.tasks.task import TRAIN_AND_VALID, Data, Split, Task, joined
from lab.training.ensemble import negative_log_likelihood

SHARE = 0.05
SPACE: dict[str, dict[str, Any]] = {
    "max_lr": {"from": "bounds"},
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.6},
}
SEARCH = {
    "digits": {"search": {"trials": 32, "epochs": 20}, "final": {"epochs": 40, "snapshots": 1, "controls": "none"}},
    "adult": {"search": {"trials": 16, "epochs": 5}, "final": {"epochs": 8, "snapshots": 1, "controls": "none"}},
    "bike": {"search": {"trials": 16, "epochs": 10}, "final": {"epochs": 20, "snapshots": 1, "controls": "none"}},
}
BATCH = {"digits": 64, "adult": 256, "bike": 128}


class PlantedDigits(Digits):
    """Digits of which some have another's label; which, is known."""

    def __init__(self, seed: int) -> None:
        super().__init__(split_seed=seed)
        self.planted: dict[str, NDArray[np.bool_]] = {}
        self._wrong: dict[str, Data] = {}
        random = np.random.default_rng(seed)
        for split in TRAIN_AND_VALID:
            x, y = super().data(split)
            wrong = np.zeros(len(y), dtype=bool)
            wrong[random.permutation(len(y))[: round(SHARE * len(y))]] = True
            shift = torch.from_numpy(np.where(wrong, random.integers(1, 10, len(y)), 0))
            self.planted[split], self._wrong[split] = wrong, (x, (y + shift) % 10)

    def data(self, split: Split) -> Data:
        return self._wrong[split] if split in self._wrong else super().data(split)


def planted_table(name: str, data: Path, folder: Path, seed: int) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """The options of a task, and which rows of its file have a wrong target."""
    random = np.random.default_rng([1, seed])  # another stream than that by which the task splits
    target, file = {"adult": ("income", "adult_train"), "bike": ("cnt", "bike_sharing_hour")}[name]
    frame = pd.read_csv(data / "tabular" / f"{file}.csv")
    wrong = np.zeros(len(frame), dtype=bool)
    wrong[random.permutation(len(frame))[: round(SHARE * len(frame))]] = True
    if name == "adult":
        first, second = sorted(frame[target].unique())
        frame.loc[wrong, target] = frame.loc[wrong, target].map({first: second, second: first})
    else:
        frame.loc[wrong, target] = random.permutation(frame.loc[wrong, target].to_numpy())
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    ignored = {"ignore": ["instant", "casual", "registered"]} if name == "bike" else {}
    return {"kind": "table", "path": str(path), "target": target, "split": {"seed": seed}, **ignored}, wrong


def ranked(doubt: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """Precision among as many rows, the most doubtful first, as are wrong."""
    first = np.argsort(-doubt, kind="stable")[: int(wrong.sum())]
    return float(wrong[first].mean())


def doubt_of(task: Task, prediction: torch.Tensor, y: torch.Tensor) -> NDArray[np.float64]:
    """How wrong a prediction [n, ...] is about each row."""
    if task.kind == "regression":
        return np.asarray((prediction - y).abs().reshape(len(y), -1).mean(dim=1).double())
    return np.asarray(negative_log_likelihood(prediction, y))


def by_trees(task: Task, seed: int) -> NDArray[np.float64]:
    """The doubt of gradient-boosted trees, each fifth of the rows predicted by those of the others."""
    x, y = joined(map(task.data, TRAIN_AND_VALID))
    features, target = task.features(x), y.numpy()
    if task.kind == "regression":
        said = cross_val_predict(HistGradientBoostingRegressor(random_state=seed), features, target.ravel(), cv=5)
        far: NDArray[np.float64] = np.abs(said - target.ravel())
        return far
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = HistGradientBoostingClassifier(random_state=seed)
    p = cross_val_predict(model, features, target, cv=folds, method="predict_proba")
    loss: NDArray[np.float64] = -np.log(np.maximum(p[np.arange(len(p)), target], 1e-12))
    return loss


def measure(name: str, data: Path, seed: int) -> dict[str, float]:
    """A study on planted errors, and every ranking of its labels."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rest: dict[str, Any] = {"name": name, "batch_size": BATCH[name], "seed": seed, "confirm": {"several": 0}}
        rest |= {"execution": {"engine": "local", "beside_s": 20.0}, **SEARCH[name]}
        if name == "digits":
            study = Study(task=PlantedDigits(seed), space=SPACE, folder=folder / "run", **rest)
        else:
            options, in_file = planted_table(name, data, folder, seed)
            study = Study.from_spec(parse_spec({"task": options, "space": SPACE, **rest}), folder / "run")
        begin = time.process_time()
        result = study.run()
        middle = time.process_time()
        doubted = suspects(study)
        end = time.process_time()
        task = doubted.task
        if isinstance(task, PlantedDigits):
            wrong = np.concatenate([task.planted[split] for split in TRAIN_AND_VALID])
        else:
            assert isinstance(task, Table)
            wrong = np.concatenate([in_file[task.rows_of(split).index.to_numpy()] for split in TRAIN_AND_VALID])
        x, y = joined(map(task.data, TRAIN_AND_VALID))
        own = doubt_of(task, result.ensemble.predict(x), y)
        return {
            **_of(doubted, wrong),
            "ensemble": ranked(own, wrong),
            "trees": ranked(by_trees(task, seed), wrong),
            "chance": float(wrong.mean()),
            "planted": int(wrong.sum()),
            "study_cpu_s": middle - begin,
            "suspects_cpu_s": end - middle,
        }


def _of(doubted: Suspects, wrong: NDArray[np.bool_]) -> dict[str, float]:
    """Precision of the ranking; and precision and recall of those that are called suspects."""
    at = {"train": 0, "valid": int((doubted.rows["split"] == "train").sum())}
    order = doubted.rows["split"].map(at).to_numpy() + doubted.rows["index"].to_numpy()
    hit = wrong[order]
    said = doubted.rows["suspect"].to_numpy()
    return {
        "precision": float(hit[: int(wrong.sum())].mean()),
        "suspects": int(said.sum()),
        "suspects_precision": float(hit[said].mean()),
        "suspects_recall": float(hit[said].sum() / wrong.sum()),
    }


_COLUMNS = (
    "data",
    "errors",
    "precision: `lab study suspects`",
    "ensemble on its own rows",
    "boosted trees out of fold",
    "chance",
    "called suspects",
    "their precision",
    "their recall",
    "CPU s",
)


def page(measured: dict[str, list[dict[str, float]]]) -> str:
    """The report."""

    def mean(runs: list[dict[str, float]], key: str) -> float:
        return statistics.mean(run[key] for run in runs)

    lines = [
        f"| {name} | {mean(runs, 'planted'):.0f} | **{mean(runs, 'precision'):.3f}** | {mean(runs, 'ensemble'):.3f} | "
        f"{mean(runs, 'trees'):.3f} | {mean(runs, 'chance'):.3f} | {mean(runs, 'suspects'):.0f} | "
        f"{mean(runs, 'suspects_precision'):.3f} | {mean(runs, 'suspects_recall'):.3f} | "
        f"{mean(runs, 'suspects_cpu_s'):.0f} of {mean(runs, 'study_cpu_s'):.0f} |"
        for name, runs in measured.items()
    ]
    body = "\n".join(lines)
    spread = "; ".join(
        f"{name} {min(run['precision'] for run in runs):.3f} to {max(run['precision'] for run in runs):.3f}"
        for name, runs in measured.items()
    )
    return f"""# Planted label errors

Made by `studies/benchmarks/suspects.py`, {max(map(len, measured.values()))} seeds each;
{listed(versions("lab", "torch", "scikit-learn"))}; {machine()}.
5 % of the labels are wrong: a class is replaced by another, a number by that of another row. Precision is that among as
many rows of training and validation as errors were planted there, which is their recall too. Out-of-fold: 5 folds, 2
models each, the study's confirmed setup; the trees are scikit-learn's with its defaults, out of 5 folds as well. The
ensemble is what the study hands out, by its loss on the rows that it was trained on. CPU seconds are those of the
command and of the study before it.

| {" | ".join(_COLUMNS)} |
|---|---|---|---|---|---|---|---|---|---|
{body}

Precision over seeds: {spread}.
"""


if __name__ == "__main__":
    by_seed(__doc__, SEARCH, 2, measure, page)
