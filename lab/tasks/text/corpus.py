"""Texts made ready: read, split, and made codes of tokens that training learned. Needs no torch.

Shapes: n texts, t tokens, c labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.classes import alike_lines, facts_of, lopsided, thin_classes
from lab.tasks.description import Description, some
from lab.tasks.splits import described
from lab.tasks.table.measured import kind_and_metrics
from lab.tasks.table.target import Target, of_training
from lab.tasks.text.delivered import delivered
from lab.tasks.text.options import TextOptions
from lab.tasks.text.reading import Texts
from lab.tasks.text.tokens import Tokens

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


class Corpus(Texts):
    """Texts, targets and splits; each made when it is first asked for.

    Args:
        brought: the tokens that a body brings, as it saves them; None: they are learned.
    """

    options: TextOptions

    def __init__(self, options: TextOptions, brought: Callable[[], Tokens] | None = None) -> None:
        super().__init__(options)
        self._brought = brought
        self._coded: dict[tuple[str, str, int], tuple[NDArray[np.int32], int]] = {}

    def labels(self, split: str) -> NDArray[Any]:
        """A split's classes int64 [n], labels float32 [n, c], or values float32 [n, t]."""
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
        tokens = self._tokens(texts) if self._brought is None else self._brought()
        length = options.max_tokens
        if length is None:
            length = min(max(int(np.quantile(tokens.lengths(texts), _WHOLE, method="higher")), 1), _MOST)
        return Fitted(of_training(self.target, self.labels("train")), tokens.dump(), length)

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
        kind, metrics = kind_and_metrics(target, self.options, labels)
        made = "as they are given" if len(self._tables) == 3 else self.plan.resolved(self._classes is not None)
        sizes = ", ".join(f"{len(codes)} {split}" for split, codes in splits.items())
        tokens, names = Tokens(fitted.tokens), target.class_names
        lengths = (splits["train"] > 0).sum(axis=1)
        by_class = target.kind != "regression"
        said = f"{'labels' if target.kind == 'multilabel' else 'classes'} ({len(names)}): {some(names)}"
        facts = (
            *((said,) if by_class else target.lines(self.options.primary)),
            f"texts {sizes} (split: {made})",
            f"{tokens.size - 1} different tokens; a training text has {np.median(lengths):g} (median), and is cut "
            f"at {fitted.length} ({self._codes_and_cut('train', fitted)[1]} of {len(lengths)} are)",
            *(() if self.folds is None else (described(self.folds),)),
            *(facts_of(labels["train"], labels["valid"], names) if by_class else ()),
        )
        doubts = tuple(self._doubts(splits, labels, tokens.unknown))
        folds = None if self.folds is None else int(self.folds.max()) + 1
        return Description(facts, doubts, len(lengths), kind, metrics, folds)

    def _doubts(
        self, codes: Mapping[str, NDArray[np.int32]], labels: Mapping[str, NDArray[Any]], unknown: int | None
    ) -> Iterator[str]:
        yield from self.lacking.lines()
        for i, part in enumerate(self.target.by_kind):
            if part.kind != "regression":
                one = bool(self.target.parts)
                yield from _of_classes({s: y[:, i].astype(np.int64) if one else y for s, y in labels.items()}, part)
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
            names = ", ".join(self.options.targets)
            yield f"{len(other)} training texts stand there several times with different {names}"


def _of_classes(labels: Mapping[str, NDArray[Any]], target: Target) -> Iterator[str]:
    """What is doubtful of each split's classes [n], or labels [n, c]."""
    names, classes = target.class_names, target.kind == "classification"
    yield from alike_lines("classes" if classes else "labels", names)
    yield from thin_classes(labels, names)
    uneven = lopsided(labels["train"], labels["valid"], names) if classes else None
    if uneven is not None:
        yield uneven


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `text` come to."""
    parsed = TextOptions.parse(options)
    return Corpus(parsed, brought(parsed)).describe()


def brought(options: TextOptions) -> Callable[[], Tokens] | None:
    """How the tokens of the body are had that a spec's net begins with; None: it begins with none."""
    if options.from_study is not None:
        return lambda: Tokens(delivered(options).tokens)
    if not options.transfers:
        return None

    def of_body() -> Tokens:
        from lab.tasks.text.pretrained import body_tokens  # it brings torch, as the library does

        return body_tokens(options)

    return of_body
