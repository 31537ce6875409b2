"""The tasks of the benchmark `outcome.py`: each is a shipped spec with small budgets, on any number of splits.

The seed of a split decides which rows are drawn from a large table, how they are split, and the study's own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lab.errors import SpecError
from lab.record.spec_file import read_spec
from lab.spec.study import StudySpec

STUDIES = Path(__file__).resolve().parents[1]
_LEAST_TRIALS, _LEAST_EPOCHS = 4, 3
_WIDEST = 8
_STEP = (5**0.5 - 1) / 2
"""A window moves on by so much of its way from one split to the next, and never comes to lie where it was."""
_BIKE_IGNORE = ["casual", "registered"]
"""The two that the target is the sum of."""


@dataclass(frozen=True)
class Source:
    """Where a cell's data come from."""

    split: int
    work: Path
    """A folder for files that are made for this cell."""
    data: Path | None = None
    """The folder with `tabular/` and `cifar10/`."""

    def file(self, name: str) -> Path:
        """A file of the data folder.

        Raises:
            SpecError: there is no folder, or no such file in it.
        """
        path = None if self.data is None else (self.data / name).resolve()
        if path is None or not path.is_file():
            raise SpecError("--data", f"{self.data or 'is not given, and'} lacks {name}")
        return path

    def table(self, frame: pd.DataFrame, target: str | list[str], **options: Any) -> dict[str, Any]:
        """The section `task` of a spec, for a table that is written for this cell."""
        path = self.work / "table.csv"
        frame.to_csv(path, index=False)
        split = {"seed": self.split, **options.pop("split", {})}
        return {"kind": "table", "path": str(path.resolve()), "target": target, "split": split, **options}

    def rows(self, name: str, count: int) -> pd.DataFrame:
        """So many rows of a file, drawn anew for each split, in the file's order."""
        frame = pd.read_csv(self.file(name))
        return frame.sample(min(count, len(frame)), random_state=self.split).sort_index()

    def window(self, name: str, count: int) -> pd.DataFrame:
        """So many rows of a file that follow each other, from another row on for each split."""
        frame = pd.read_csv(self.file(name))
        start = int(self.split * _STEP % 1 * max(len(frame) - count, 0))
        return frame.iloc[start : start + count]


@dataclass(frozen=True)
class Workload:
    """A shipped spec and what is set beside it."""

    spec: str
    task: Callable[[Source], dict[str, Any]]
    batch_size: int = 32
    trials: int = 24
    epochs: int = 9
    """Epochs of a trial."""
    final: int = 18
    """Epochs of a final model."""

    def study(
        self,
        name: str,
        source: Source,
        scale: float = 1.0,
        sets: Mapping[str, Any] = MappingProxyType({}),
    ) -> StudySpec:
        """The study of one split.

        Args:
            scale: by which trials, epochs and final epochs are multiplied.
            sets: further `section.key` overrides.

        Raises:
            LabError: the spec cannot be run, or its data cannot be read.
        """
        trials = max(_LEAST_TRIALS, round(scale * self.trials))
        epochs, final = (max(_LEAST_EPOCHS, round(scale * count)) for count in (self.epochs, self.final))
        settings: dict[str, Any] = {
            "name": name,
            "seed": source.split,
            "task": self.task(source),
            "batch_size": self.batch_size,
            "search.trials": trials,
            "search.epochs": epochs,
            "final.epochs": final,
            "final.snapshots": 3,
            # One core and a fixed width: what is searched does not depend on how fast this machine is today.
            "execution.engine": "local",
            "execution.lanes": 1,
            "execution.threads": 1,
            "execution.width": min(max(trials // 4, 1), _WIDEST),
            "execution.device": "cpu",
        }
        return read_spec(STUDIES / self.spec, settings | dict(sets))


def _bundled(name: str) -> Callable[[Source], dict[str, Any]]:
    """A table that comes with scikit-learn."""

    def make(source: Source) -> dict[str, Any]:
        from sklearn import datasets

        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        values = {"target_type": "number"} if name == "diabetes" else {"target_type": "category"}
        return source.table(frame, "target", **values)

    return make


def _digits(model: str) -> Callable[[Source], dict[str, Any]]:
    return lambda source: {"kind": "digits", "model": model, "split_seed": source.split}


def _adult(source: Source) -> dict[str, Any]:
    return source.table(source.rows("tabular/adult_train.csv", 4500), "income")


def _adult_grouped(source: Source) -> dict[str, Any]:
    """Rows of one age are never in two splits."""
    frame = source.rows("tabular/adult_train.csv", 4500)
    return source.table(frame, "income", split={"kind": "grouped", "by": "age"})


def _yeast(source: Source) -> dict[str, Any]:
    frame = pd.read_csv(source.file("tabular/yeast_multilabel.csv"))
    return source.table(frame, [f"class{i}" for i in range(1, 15)], bins=0)


def _bike(source: Source) -> dict[str, Any]:
    return source.table(source.rows("tabular/bike_sharing_hour.csv", 4000), "cnt", ignore=_BIKE_IGNORE)


def _bike_time(source: Source) -> dict[str, Any]:
    """The last weeks of some five months, which begin on another day for each split."""
    frame = source.window("tabular/bike_sharing_hour.csv", 4000)
    return source.table(frame, "cnt", ignore=_BIKE_IGNORE, split={"kind": "time", "by": "dteday"})


def _bike_days(source: Source) -> dict[str, Any]:
    """The hours of one day are never in two splits."""
    frame = source.rows("tabular/bike_sharing_hour.csv", 4000)
    return source.table(frame, "cnt", ignore=_BIKE_IGNORE, split={"kind": "grouped", "by": "dteday"})


def _sparse_labels(source: Source) -> dict[str, Any]:
    """Shares of 60 words in 600 documents, which have about two of 30 labels each; labels seen thrice are learned."""
    from sklearn.datasets import make_multilabel_classification

    x, y = make_multilabel_classification(
        600, n_features=60, n_classes=30, n_labels=2, length=150, random_state=source.split
    )
    words = pd.DataFrame(x / x.sum(axis=1, keepdims=True)).add_prefix("word").round(4)
    labels = pd.DataFrame(y).add_prefix("label")
    labels = labels.loc[:, labels.sum() >= 3]
    return source.table(pd.concat([words, labels], axis=1), list(labels.columns), bins=0)


def _digits_images(source: Source) -> dict[str, Any]:
    """scikit-learn's digits as a user has them: a folder of PNGs per class."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    folder = source.work / "images"
    for number, (image, digit) in enumerate(zip(pixels.reshape(-1, 8, 8), classes, strict=True)):
        path = folder / f"digit{digit}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(path)
    return images(folder, source.split, shift=1)


def _cifar(source: Source) -> dict[str, Any]:
    return images(source.file("cifar10/train.parquet"), source.split, limit=2000, size=12, shift=1)


def images(path: Path, split: int, **options: Any) -> dict[str, Any]:
    """The section `task` of a spec, for images with the small net."""
    where = str(path.resolve())
    return {"kind": "images", "path": where, "model": "small_cnn", "split": {"seed": split}, **options}


WORKLOADS: dict[str, Workload] = {
    "digits_mlp": Workload("digits.yaml", _digits("mlp"), 64),
    "digits_cnn": Workload("digits.yaml", _digits("cnn"), 64, trials=16, epochs=4, final=10),
    "wine": Workload("table.yaml", _bundled("wine"), 16),
    "breast_cancer": Workload("table.yaml", _bundled("breast_cancer")),
    "diabetes": Workload("table.yaml", _bundled("diabetes")),
    "adult": Workload("table.yaml", _adult, 64, epochs=6, final=12),
    "adult_grouped": Workload("table.yaml", _adult_grouped, 64, epochs=6, final=12),
    "yeast": Workload("table.yaml", _yeast, 64),
    "sparse_labels": Workload("table.yaml", _sparse_labels),
    "bike": Workload("table.yaml", _bike, 64),
    "bike_time": Workload("table.yaml", _bike_time, 64),
    "bike_days": Workload("table.yaml", _bike_days, 64),
    "digits_images": Workload("images.yaml", _digits_images, 64, trials=16, epochs=6, final=12),
    "cifar": Workload("images.yaml", _cifar, 64, trials=12, epochs=3, final=6),
}
NEED_DATA = ("adult", "adult_grouped", "yeast", "bike", "bike_time", "bike_days", "cifar")


def own_table(path: Path, target: list[str], split: str | None, metric: str | None) -> Workload:
    """A table of which nothing is known.

    Args:
        split: `KIND` or `KIND:COLUMN`; None: what the task takes by itself.
        metric: the option `metric` of the task; None: what the task takes by itself.
    """

    def task(source: Source) -> dict[str, Any]:
        kind, _, by = (split or "auto").partition(":")
        plan = {"kind": kind, "seed": source.split} | ({"by": by} if by else {})
        one: str | list[str] = target[0] if len(target) == 1 else target
        options = {"metric": metric} if metric else {}
        return {"kind": "table", "path": str(path.resolve()), "target": one, "split": plan, **options}

    with path.open("rb") as lines:
        rows = sum(1 for _ in lines)
    return Workload("table.yaml", task, _batch_size(rows))


def own_images(folder: Path, metric: str | None) -> Workload:
    """Images of which nothing is known."""
    files = sum(1 for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 10_000
    options = {"metric": metric} if metric else {}
    return Workload(
        "images.yaml",
        lambda source: images(folder, source.split, **options),
        _batch_size(files),
        trials=16,
        epochs=6,
        final=12,
    )


def _batch_size(examples: int) -> int:
    return 32 if examples < 1000 else 64 if examples < 10_000 else 128
