"""The tasks that come with the package, and what can be said of them without importing them (and torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.tasks.digits_options import DigitsOptions
from lab.tasks.images.options import ImageOptions
from lab.tasks.options import Options, Range, absolute
from lab.tasks.ratings.options import RatingsOptions
from lab.tasks.table.options import TableOptions
from lab.tasks.text.options import LanguageOptions, TextOptions


@dataclass(frozen=True)
class Builtin:
    """A task that comes with the package."""

    summary: str
    options: type[Options]
    task: str
    """`module:class`, to be imported when it is trained."""
    describe: str
    """`module:function` from a spec's options to a `Description`, without importing torch."""

    @property
    def reads(self) -> Mapping[str, Range]:
        """Hyperparameters it knows, and from where on below where their values must lie."""
        return self.options.reads()


BUILTIN: dict[str, Builtin] = {
    "digits": Builtin(
        "scikit-learn's 8x8 digits, ten classes",
        DigitsOptions,
        "lab.tasks.digits:Digits",
        describe="lab.tasks.digits_data:describe",
    ),
    "table": Builtin(
        "a CSV or parquet of your own: numbers, categories, dates; classes, labels or values to predict",
        TableOptions,
        "lab.tasks.table.task:Table",
        describe="lab.tasks.table.describe:describe",
    ),
    "images": Builtin(
        "images of your own: a folder per class, a parquet, an npz, or a data set of the Hub",
        ImageOptions,
        "lab.tasks.images.task:Images",
        describe="lab.tasks.images.describe:describe",
    ),
    "ratings": Builtin(
        "ratings of items by users, in a table of your own: what is missing of them, and the best items for a user",
        RatingsOptions,
        "lab.tasks.ratings.task:Ratings",
        describe="lab.tasks.ratings.rated:describe",
    ),
    "text": Builtin(
        "texts of your own: a column of a table, or a folder of files per class; classes, labels",
        TextOptions,
        "lab.tasks.text.task:Text",
        describe="lab.tasks.text.corpus:describe",
    ),
    "language_model": Builtin(
        "the next token of texts of your own, without anything said of them; a classifier may begin with it",
        LanguageOptions,
        "lab.tasks.text.language_model:LanguageModel",
        describe="lab.tasks.text.stream:describe",
    ),
}


def rooted(kind: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options of a built-in task with its paths made absolute, from `folder`."""
    return absolute(options, BUILTIN[kind].options.paths() if kind in BUILTIN else (), folder)
