"""A task of one's own: scikit-learn's breast_cancer with an MLP. `custom_task.yaml` runs it, and so does this file."""

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

import lab


class BreastCancer(lab.Task):
    """569 tumours, 30 measurements, benign or malignant. The defaults of `lab.Task` are those of classification."""

    class_names = ("malignant", "benign")

    def __init__(self) -> None:
        x, y = load_breast_cancer(return_X_y=True)
        rest, test = train_test_split(range(len(x)), test_size=0.2, stratify=y, random_state=0)
        train, valid = train_test_split(rest, test_size=0.25, stratify=y[rest], random_state=0)
        self._mean, self._std = x[train].mean(axis=0), x[train].std(axis=0)
        self._x, self._y = self.prepare(x), torch.tensor(y)
        self._rows = {"train": train, "valid": valid, "test": test}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        """A fresh model; `params` are the trial's hyperparameters."""
        return nn.Sequential(
            nn.Linear(30, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(64, 2)
        )

    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs [n, 30] and classes [n] of `train`, `valid` or `test`."""
        rows = self._rows[split]
        return self._x[rows], self._y[rows]

    def prepare(self, raw: Any) -> torch.Tensor:
        """What `lab predict` reads from a file, made ready as the training data are."""
        return torch.tensor((raw - self._mean) / self._std, dtype=torch.float32)


if __name__ == "__main__":
    space = lab.Space(
        max_lr=lab.FromBounds(),
        cycles=lab.Choice((1, 2)),
        weight_decay=lab.Float(1e-4, 1, log=True),
        dropout=lab.Float(0, 0.6),
    )
    study = lab.Study(task=BreastCancer(), space=space, name="breast_cancer", trials=32, epochs=12, batch_size=32)
    result = study.run(engine="local", quiet=False)
    print(result.response.importances)
    print(result.artefact("ensemble")["chosen"]["test"])
