"""What a spec says of ratings, refused where it is impossible. Needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.errors import SpecError
from lab.tasks.options import PATH, Allowed, number, one_of, option, whole
from lab.tasks.scored import Scored
from lab.tasks.splits import SPLIT_MEANING
from lab.tasks.table.dialect import Dialect

DOT, NET = "dot", "net"

_COLUMN = Allowed("is not a column's name", lambda value: isinstance(value, str) and value != "")
_WIDTHS = Allowed(
    "is not a list of at most 20 widths from 1 to 10000",
    lambda value: (
        isinstance(value, (list, tuple))
        and 0 < len(value) <= 20
        and all(whole(1, 10_000).holds(width) for width in value)
    ),
)


class RatingsOptions(Dialect, Scored):
    """What a spec may say of ratings."""

    path: str = option("the ratings: .csv, .tsv or .parquet, a row each", PATH)
    user: str = option("the column that says who rates", _COLUMN, default="user")
    item: str = option("the column that says what is rated", _COLUMN, default="item")
    rating: str = option("the column of numbers to predict", _COLUMN, default="rating")
    test_path: str | None = option("a table of test rows; without it they are taken from the first", PATH, default=None)
    split: Any = option(SPLIT_MEANING, default="random")
    model: str = option(
        f"{DOT}: the dot product of two embeddings, with biases; {NET}: layers above both embeddings",
        one_of(DOT, NET),
        default=DOT,
    )
    factors: int = option("numbers of each user's and each item's embedding", whole(1, 1024), default=32, searched=True)
    layers: Sequence[int] = option(f"widths of the hidden layers of model {NET}", _WIDTHS, default=(100,))
    margin: float = option(
        "share of the training ratings' range by which predictions may leave it at either end",
        number(0, 10),
        default=0.1,
    )

    def check(self) -> None:
        super().check()
        columns = (self.user, self.item, self.rating)
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise SpecError("task.item", f"{twice!r} is named twice among user, item and rating")
