"""A small package that registers tasks, samplers and schedules, written as an installer would leave it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TASKS = """
import torch, lab
from lab.tasks.task import trial_function

class Waves(lab.Task):
    class_names = ("low", "high")

    def __init__(self, examples=60):
        if examples < 10:
            raise ValueError("too few")
        x = torch.linspace(-1, 1, examples)[torch.randperm(examples, generator=torch.Generator().manual_seed(0))]
        self._x, self._y = x[:, None], (x > 0).long()

    def model(self, params):
        return torch.nn.Linear(1, 2)

    def data(self, split):
        rows = slice({"train": 0, "valid": 1, "test": 2}[split], None, 3)
        return self._x[rows], self._y[rows]

@trial_function(metric="score", direction="minimize")
def train(trial):
    yield {"score": 1.0}
"""

SEARCH = """
import optuna

class Halton(optuna.samplers.RandomSampler):
    def __init__(self, seed=None, scramble=True):
        super().__init__(seed)
        self.scramble = scramble
"""

SCHEDULES = """
from dataclasses import dataclass
import numpy as np
from lab.schedules.base import FixedMomentum

@dataclass(frozen=True, kw_only=True)
class Halving(FixedMomentum):
    kind = "halving"
    max_lr: float
    every: int = 10

    def _lr(self, steps, total):
        return self.max_lr * 0.5 ** (steps // self.every).astype(np.float64)

@dataclass(frozen=True, kw_only=True)
class Misnamed(Halving):
    kind = "other"
"""


def write_package(
    folder: Path, package: str, modules: Mapping[str, str], points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Write a package and what an installer says of it below `folder`, which is to be put on `sys.path`.

    Args:
        modules: each module's text.
        points: of each group of entry points, name to `module:attribute`.
    """
    (folder / package).mkdir(parents=True)
    for name, text in {"__init__": "", **modules}.items():
        (folder / package / f"{name}.py").write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = (
        f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in entries.items())
        for group, entries in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder
