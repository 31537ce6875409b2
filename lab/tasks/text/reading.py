"""Texts read and split, whether or not anything is said of each. Needs no torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError
from lab.tasks.splits import Rows, SplitPlan, groups_of, make_folds, make_split
from lab.tasks.table.frame import need_columns, read_table
from lab.tasks.table.held import Held
from lab.tasks.table.lacking import Lacking
from lab.tasks.table.target import Target, fit_target
from lab.tasks.table.values import is_nested
from lab.tasks.text.folder import FILE, SUFFIX, has_texts, lines_in, read_folder, texts_in
from lab.tasks.text.options import TextSource
from lab.tasks.text.tokens import Tokens, from_file, learned

_CLASS = "label"
"""What the column of a folder's classes is called where nobody has named it."""


class Texts:
    """The texts of each split, and the classes that they are split by; each made when it is first asked for."""

    def __init__(self, options: TextSource) -> None:
        self.options = options
        self.plan = SplitPlan.parse(options.split)
        self.lacking = Lacking(options.targets, options)
        """The rows that have no target."""

    @cached_property
    def _tables(self) -> dict[str, Held]:
        """The rows of each split that has a table of its own; those of `train` are split where others lack."""
        options = self.options
        tables = self._read("train", options.path)
        for split, path in (("valid", options.valid_path), ("test", options.test_path)):
            if path is None:
                continue
            if split in tables:
                raise SpecError(f"task.{split}_path", f"is given beside the folder {split!r} of {options.path}")
            tables[split] = self._read(split, path)["train"]
        return tables

    def _read(self, split: str, path: str) -> dict[str, Held]:
        options, where = self.options, Path(path)
        if not options.targets and where.suffix.lower() == SUFFIX and where.is_file():
            return {"train": lines_in(where, options.text)}
        if where.is_dir():
            if len(options.targets) > 1:
                raise SpecError("task.target", f"{path}: a folder per class says one target; got {options.target}")
            if not options.targets and has_texts(where):
                return {"train": texts_in(where, options.text)}
            return read_folder(where, options.text, options.targets[0] if options.targets else _CLASS)
        table = read_table(where, options, {options.text: options.missing})
        need_columns(table, [options.text], "task.text")
        if is_nested(table[options.text]):
            raise TaskError(f"{path}: column {options.text!r} holds lists or mappings; a text is one value in each row")
        need_columns(table, options.targets, "task.target")
        return {"train": self.lacking.left_out(table, path) if options.targets else table}

    @cached_property
    def target(self) -> Target:
        """What is said of the rows to learn from; one column alone holds classes, as they may be called 1 to 5."""
        options = self.options
        asked = options.target_type or ("category" if len(options.targets) == 1 else None)
        return fit_target(self._tables["train"], options.targets, asked, options.several_types)

    @cached_property
    def rows(self) -> Rows:
        """Row numbers of each split, in its table."""
        tables, main = self._tables, self._tables["train"]
        rows_of = {split: np.arange(len(table)) for split, table in tables.items()}
        lacking = [split for split in ("valid", "test") if split not in tables]
        if not lacking:
            return rows_of
        made = make_split(self.plan, len(main), self._classes, self._by, with_test="test" in lacking)
        if "valid" not in lacking:
            made["train"] = np.sort(np.concatenate([made["train"], made.pop("valid")]))
        return rows_of | made

    @cached_property
    def folds(self) -> NDArray[np.int64] | None:
        if self.plan.folds is not None and "valid" in self._tables:
            raise SpecError("task.split.folds", f"{self.plan.folds} folds are not possible beside texts to validate on")
        return make_folds(self.plan, self.rows, self._classes, self._by)

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group of each training row and, behind them, of each validation row; None where rows are not grouped."""
        return None if "valid" in self._tables else groups_of(self.plan, self.rows, self._by)

    @cached_property
    def _classes(self) -> NDArray[Any] | None:
        """The class [n], by its name, or labels [n, c] of every row of the first table; None where none are named, or
        values are among them."""
        if not self.options.targets or self.target.kind == "regression":
            return None
        values = self.target.values(self._tables["train"]).astype(np.int64)
        return np.array(self.target.class_names)[values] if values.ndim == 1 else values

    @cached_property
    def _by(self) -> NDArray[Any] | None:
        if self.plan.by is None:
            return None
        need_columns(self._tables["train"], [self.plan.by], "task.split.by")
        return self._tables["train"][self.plan.by].to_numpy()

    def part(self, split: str) -> Held:
        """A split's rows."""
        return self._tables.get(split, self._tables["train"]).take(self.rows[split])

    def texts(self, split: str) -> list[str]:
        """A split's texts [n]."""
        return texts_of(self.part(split), self.options.text)

    def _tokens(self, texts: list[str]) -> Tokens:
        """Those of the spec's tokenizer, or those that these texts teach."""
        options = self.options
        if options.tokenizer is not None:
            return from_file(Path(options.tokenizer))
        return learned(texts, options.tokens, options.vocabulary)


def texts_of(table: Held, name: str) -> list[str]:
    """The texts of a column [n]; an empty one where there is none."""
    values = table[name]
    return [
        "" if missing else str(value) for value, missing in zip(values.tolist(), values.isna().tolist(), strict=True)
    ]


def plain_texts(raw: Any) -> list[str]:
    """Texts [n] as Python has them: a list of str, or one.

    Raises:
        TaskError: there are none, or one is no text.
    """
    texts = [raw] if isinstance(raw, str) else list(raw)
    strange = [type(text).__name__ for text in texts if not isinstance(text, str)]
    if strange:
        raise TaskError(f"a {strange[0]} is no text; give a list of str, or a pandas DataFrame")
    if not texts:
        raise TaskError("there are no inputs to predict for")
    return [text.encode(errors="replace").decode() for text in texts]  # half a character is no text of a file


def read_later(path: Path, options: TextSource) -> tuple[Held, tuple[str, ...]]:
    """A user's later texts, and what each is called, where that is known: of a table like the training one, of a
    folder of .txt files, or of one .txt file, a line each.

    Raises:
        TaskError: they cannot be read.
    """
    if path.is_dir():
        table = texts_in(path, options.text)
        return table, tuple(map(str, table[FILE]))
    if path.suffix.lower() == SUFFIX:
        return lines_in(path, options.text), ()
    table = read_table(path, options, {options.text: options.missing})
    if options.text not in table.columns:
        raise TaskError(f"{path}: has no column {options.text!r}")
    return table, ()
