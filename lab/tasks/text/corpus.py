"""Texts made ready: read, split, and made codes of tokens that training learned. Needs no torch.

Shapes: n texts, t tokens, c labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError
from lab.tasks.classes import alike_lines, facts_of, lopsided, thin_classes
from lab.tasks.description import Description, some
from lab.tasks.scored import check_defined
from lab.tasks.splits import Rows, SplitPlan, described, groups_of, make_folds, make_split
from lab.tasks.table.frame import need_columns, read_table
from lab.tasks.table.held import Held
from lab.tasks.table.target import Target, fit_target, with_target
from lab.tasks.table.values import is_nested
from lab.tasks.text.folder import read_folder
from lab.tasks.text.options import TextOptions
from lab.tasks.text.tokens import Tokens, from_file, learned

_WHOLE = 0.99
"""Share of the training texts that are not cut, where the spec does not say where texts are cut."""
_MOST = 256
"""Where texts are cut at most then: what a net costs grows with it."""


@dataclass(frozen=True)
class Begun:
    """The body that a net begins with."""

    digest: str
    """By which its weights are known again."""
    config: str
    """By which its library makes it again, as JSON."""
    features: int
    """How many it makes of a text."""
    center: tuple[float, ...] = ()
    """Each feature's mean over the training texts, where the body is frozen."""
    spread: tuple[float, ...] = ()

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Begun:
        return cls(**{**value, "center": tuple(value["center"]), "spread": tuple(value["spread"])})


@dataclass(frozen=True)
class Fitted:
    """What was learned from the training texts."""

    target: Target
    tokens: str
    """The tokenizer as it saves itself."""
    length: int
    """Where texts are cut."""
    body: Begun | None = None

    def dump(self) -> dict[str, Any]:
        body = None if self.body is None else asdict(self.body)
        return {"target": self.target.dump(), "tokens": self.tokens, "length": self.length, "body": body}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Fitted:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            body = None if value.get("body") is None else Begun.load(value["body"])
            return cls(Target.load(value["target"]), str(value["tokens"]), int(value["length"]), body)
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(f"what was fitted to the texts is damaged ({error})") from error


class Corpus:
    """Texts, targets and splits; each made when it is first asked for."""

    def __init__(self, options: TextOptions) -> None:
        self.options = options
        self.plan = SplitPlan.parse(options.split)
        self._coded: dict[tuple[str, str, int], tuple[NDArray[np.int32], int]] = {}

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
        options = self.options
        if Path(path).is_dir():
            if len(options.targets) > 1:
                raise SpecError("task.target", f"{path}: a folder per class says one target; got {options.target}")
            return read_folder(Path(path), options.text, options.targets[0])
        table = read_table(Path(path), options, {options.text: options.missing})
        need_columns(table, [options.text], "task.text")
        if is_nested(table[options.text]):
            raise TaskError(f"{path}: column {options.text!r} holds lists or mappings; a text is one value in each row")
        need_columns(table, options.targets, "task.target")
        return {"train": with_target(table, options.targets)}

    @cached_property
    def target(self) -> Target:
        """The classes, or labels, of the rows to learn from."""
        names = self.options.targets
        target = fit_target(self._tables["train"], names, "category" if len(names) == 1 else None)
        if target.kind == "regression":
            raise SpecError("task.target", f"{', '.join(names)}: several targets of a text are columns of 0 and 1")
        return target

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
    def _classes(self) -> NDArray[Any]:
        """The class [n], by its name, or labels [n, c] of every row of the first table."""
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

    def labels(self, split: str) -> NDArray[Any]:
        """A split's classes int64 [n], or labels float32 [n, c]."""
        return self.target.values(self.part(split))

    @cached_property
    def fitted(self) -> Fitted:
        """What was learned from the training texts.

        Raises:
            TaskError: nothing can be learned from them.
        """
        options, texts = self.options, self.texts("train")
        if not any(text.strip() for text in texts):
            raise TaskError(f"{options.path}: all training texts are empty")
        tokens = self._tokens(texts)
        length = options.max_tokens
        if length is None:
            length = min(max(int(np.quantile(tokens.lengths(texts), _WHOLE, method="higher")), 1), _MOST)
        return Fitted(self.target, tokens.dump(), length)

    def _tokens(self, texts: list[str]) -> Tokens:
        options = self.options
        if options.transfers:
            from lab.tasks.text.pretrained import body_tokens  # it brings torch, as the library does

            return body_tokens(options)
        if options.tokenizer is not None:
            return from_file(Path(options.tokenizer))
        return learned(texts, options.tokens, options.vocabulary)

    def codes(self, split: str, fitted: Fitted) -> NDArray[np.int32]:
        """A split's codes [n, t]."""
        return self._codes_and_cut(split, fitted)[0]

    def _codes_and_cut(self, split: str, fitted: Fitted) -> tuple[NDArray[np.int32], int]:
        """A split's codes, and how many of its texts were cut: made once, as they are described and trained on."""
        key = split, fitted.tokens, fitted.length
        if key not in self._coded:
            codes, cut = Tokens(fitted.tokens).codes(self.texts(split), fitted.length)
            self._coded[key] = codes, int(cut.sum())
        return self._coded[key]

    def describe(self) -> Description:
        """What was found and what is doubtful, for people."""
        fitted, target = self.fitted, self.target
        splits = {split: self.codes(split, fitted) for split in ("train", "valid", "test")}
        labels = {split: self.labels(split) for split in splits}
        check_defined(self.options, target.kind, labels)
        made = "as they are given" if len(self._tables) == 3 else self.plan.resolved(True)
        sizes = ", ".join(f"{len(codes)} {split}" for split, codes in splits.items())
        tokens, names = Tokens(fitted.tokens), target.class_names
        lengths = (splits["train"] > 0).sum(axis=1)
        facts = (
            f"{'labels' if target.kind == 'multilabel' else 'classes'} ({len(names)}): {some(names)}",
            f"texts {sizes} (split: {made})",
            f"{tokens.size - 1} different tokens; a training text has {np.median(lengths):g} (median), and is cut "
            f"at {fitted.length} ({self._codes_and_cut('train', fitted)[1]} of {len(lengths)} are)",
            *(() if self.folds is None else (described(self.folds),)),
            *facts_of(labels["train"], labels["valid"], names),
        )
        doubts = tuple(self._doubts(splits, labels, tokens.unknown))
        return Description(facts, doubts, len(lengths), None if self.folds is None else int(self.folds.max()) + 1)

    def _doubts(
        self, codes: Mapping[str, NDArray[np.int32]], labels: Mapping[str, NDArray[Any]], unknown: int | None
    ) -> Iterator[str]:
        names = self.target.class_names
        yield from alike_lines("classes" if self.target.kind == "classification" else "labels", names)
        yield from thin_classes(labels, names)
        uneven = None if labels["train"].ndim > 1 else lopsided(labels["train"], labels["valid"], names)
        if uneven is not None:
            yield uneven
        for split, of_split in codes.items():
            empty = int((of_split == 0).all(axis=1).sum())
            if empty:
                yield f"{empty} of {len(of_split)} {split} texts are empty; the net sees nothing of them"
        there = codes["valid"] > 0
        if unknown is not None and there.any():
            share = float((codes["valid"] == unknown).sum() / there.sum())
            if share > 0.1:
                yield f"{share:.2g} of the validation texts' tokens are not among those of training"
        yield from self._repeated(labels)

    def _repeated(self, labels: Mapping[str, NDArray[Any]]) -> Iterator[str]:
        """Texts that stand in several splits, and those that say several things."""
        plain = {split: [" ".join(text.casefold().split()) for text in self.texts(split)] for split in labels}
        trained = set(plain["train"])
        for split in ("valid", "test"):
            shared = sum(text in trained for text in plain[split])
            if shared:
                yield f"{shared} of {len(plain[split])} {split} texts are training texts too; scores are flattered"
        said: dict[str, bytes] = {}
        other = {
            t
            for t, y in zip(plain["train"], labels["train"], strict=True)
            if said.setdefault(t, y.tobytes()) != y.tobytes()
        }
        if other:
            yield f"{len(other)} training texts stand there several times with different {self.options.target}"


def texts_of(table: Held, name: str) -> list[str]:
    """The texts of a column [n]; an empty one where there is none."""
    values = table[name]
    return [
        "" if missing else str(value) for value, missing in zip(values.tolist(), values.isna().tolist(), strict=True)
    ]


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `text` come to."""
    return Corpus(TextOptions.parse(options)).describe()
