"""What a spec says of a table, refused where it is impossible. Needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from lab.errors import SpecError
from lab.tasks.balance_options import Balanced
from lab.tasks.options import FLAG, PATH, SHARE, Allowed, Range, option, whole
from lab.tasks.splits import SPLIT_MEANING
from lab.tasks.table.dialect import Dialect
from lab.tasks.table.from_frame import file_for, is_frame
from lab.tasks.targeted import TARGET, Targeted, names_of
from lab.tasks.undecided import AUTO, Undecided

Type: TypeAlias = Literal["number", "category", "date"]
"""What a column is taken for."""
TYPES = get_args(Type)

_BINS = 16
"""What is tried, and what earlier versions had in every study."""


def _are_names(values: Sequence[object]) -> bool:
    """Different names."""
    return all(isinstance(name, str) for name in values) and len(set(values)) == len(values)


_COLUMNS = Allowed("is not a list of columns", lambda value: isinstance(value, (list, tuple)) and _are_names(value))
_TYPES = Allowed(
    f"is not a mapping of columns to {', '.join(TYPES)}",
    lambda value: isinstance(value, Mapping) and _are_names(list(value)),
)
_MOST_LAYERS, _WIDEST = 100, 100_000
_WIDTHS = Allowed(
    f"is not a list of at most {_MOST_LAYERS} widths from 1 to {_WIDEST}",
    lambda value: (
        isinstance(value, (list, tuple))
        and 0 < len(value) <= _MOST_LAYERS
        and all(whole(1, _WIDEST).holds(width) for width in value)
    ),
)

_COUNT = whole(0, 256)
_COUNT_OR_AUTO = Allowed(
    f"{_COUNT.refusal}, or {AUTO}", lambda value: _COUNT.holds(value) or value == AUTO, _COUNT.range
)


class TableOptions(Dialect, Targeted, Balanced):
    """What a spec may say of a table."""

    hyperparameters: ClassVar[Mapping[str, Range]] = MappingProxyType(
        {"dropout": SHARE.range, "embedding_dropout": SHARE.range}
    )

    files: ClassVar[Mapping[str, Path]] = MappingProxyType({})
    """Those of options that were given as frames: a study keeps them, since these go when the task does."""

    path: Any = option("the table: .csv, .tsv or .parquet", PATH)
    """In Python also a pandas frame, of which a file is made: `from_frame`."""
    target: str | list[str] = option("the column to predict, or a list of columns", TARGET)
    test_path: Any = option("a table of test rows; without it they are taken from the first", PATH, default=None)
    split: Any = option(SPLIT_MEANING, default="auto")
    ignore: Sequence[str] = option("columns not to learn from", _COLUMNS, default=())
    types: Mapping[str, Type] = option(
        "column to number, category or date, where the guess is wrong", _TYPES, default_factory=dict
    )
    bins: int | Literal["auto"] = option(
        f"of the piecewise-linear encoding beside each number; 0 turns it off; auto tries {_BINS} and none",
        _COUNT_OR_AUTO,
        default=AUTO,
        searched=True,
        undecided=Undecided((_BINS, 0)),
    )
    """They carry large tables; where rows are few, a net learns them by heart."""
    layers: Sequence[int] = option("widths of the hidden layers", _WIDTHS, default=(200, 100))
    allow_leaks: bool = option("true to learn from columns that give the target away", FLAG, default=False)

    def __post_init__(self) -> None:
        if isinstance(self.ignore, str):
            object.__setattr__(self, "ignore", [self.ignore])  # one column, as `target` may be one
        for name, value in self._tables.items():
            if type(value).__name__ == "Series":  # of pandas
                raise SpecError(f"task.{name}", "a Series is not a path; give a DataFrame, or a file")
        files = {name: file_for(self, name, value) for name, value in self._tables.items() if is_frame(value)}
        for name, file in files.items():
            object.__setattr__(self, name, str(file))
        object.__setattr__(self, "files", MappingProxyType(files))
        super().__post_init__()

    @property
    def _tables(self) -> dict[str, Any]:
        return {"path": self.path, "test_path": self.test_path}

    def check(self) -> None:
        super().check()
        for name, kind in self.types.items():
            if kind not in TYPES:
                raise SpecError(f"task.types.{name}", f"{kind!r} is unknown; choices: {', '.join(TYPES)}")
            if kind == "date" and name in self.targets and len(self.targets) > 1:
                raise SpecError(f"task.types.{name}", "'date': a target is a number or a category")

    def refused(self, name: str, value: Any) -> str:
        if name == "bins" and value not in (0, self.most_bins):
            return f"is neither 0 nor those of task.bins: {self.most_bins}"
        return super().refused(name, value)

    @property
    def most_bins(self) -> int:
        """The bins that stand beside each number in the inputs, whether a trial uses them or not."""
        return _BINS if isinstance(self.bins, str) else self.bins

    @property
    def said_types(self) -> Mapping[str, Type]:
        return self.types

    @property
    def targets(self) -> tuple[str, ...]:
        return names_of(self.target)
