"""Texts as one stream of tokens, cut into windows, for a language model. Needs no torch.

Shapes: n windows or texts, t tokens of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.description import Description
from lab.tasks.text.delivered import how_many, remembered
from lab.tasks.text.options import MOST_TOKENS, LanguageOptions
from lab.tasks.text.reading import Texts
from lab.tasks.text.tokens import Tokens

NOTHING = -1
"""What stands behind the end of a window's tokens. 0 is the end of a text, which is said as a token is."""
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class FittedLanguage:
    """What was learned from the training texts."""

    tokens: str
    """The tokenizer as it saves itself."""
    window: int
    seen: str
    """The training and validation texts, as `remembered` has them."""

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> FittedLanguage:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            return cls(str(value["tokens"]), int(value["window"]), str(value["seen"]))
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(f"what was fitted to the texts is damaged ({error})") from error

    def dump(self) -> dict[str, Any]:
        return asdict(self)


class Stream(Texts):
    """A language model's texts, their tokens and windows; each made when it is first asked for."""

    options: LanguageOptions

    def __init__(self, options: LanguageOptions) -> None:
        super().__init__(options)
        self._coded: dict[tuple[str, str], NDArray[np.int32]] = {}

    @cached_property
    def fitted(self) -> FittedLanguage:
        """What was learned from the training texts.

        Raises:
            TaskError: nothing can be learned from them.
        """
        texts = self.texts("train")
        if not any(text.strip() for text in texts):
            raise TaskError(f"{self.options.path}: all training texts are empty")
        tokens = self._tokens(texts).dump()
        return FittedLanguage(tokens, self.options.window, remembered([*texts, *self.texts("valid")]))

    def codes(self, split: str, fitted: FittedLanguage) -> NDArray[np.int32]:
        """A split's texts as one stream [codes].

        Raises:
            TaskError: it has no tokens.
        """
        key = split, fitted.tokens
        if key not in self._coded:
            stream = Tokens(fitted.tokens).stream(self.texts(split))
            if len(stream) < 2:
                raise TaskError(f"all {split} texts are empty")
            self._coded[key] = stream
        return self._coded[key]

    def windows(self, split: str, fitted: FittedLanguage) -> NDArray[np.int32]:
        """A split's stream in windows [n, t + 1], each of which begins with the last code of the one before."""
        return in_windows(self.codes(split, fitted), fitted.window)

    def describe(self) -> Description:
        """What was found and what is doubtful, for people."""
        fitted = self.fitted
        tokens, streams = Tokens(fitted.tokens), {split: self.codes(split, fitted) for split in _SPLITS}
        texts = ", ".join(f"{len(self.rows[split])} {split}" for split in _SPLITS)
        said = ", ".join(f"{len(stream) - 1} {split}" for split, stream in streams.items())
        made = "as they are given" if len(self._tables) == 3 else self.plan.resolved(bool(self.options.targets))
        windows = len(in_windows(streams["train"], fitted.window))
        facts = (
            f"texts {texts} (split: {made})",
            f"{tokens.size - 1} different tokens; to be said, with the ends of texts: {said}",
            f"{windows} training windows of {fitted.window} tokens, each of which begins without a state",
            "always saying the training tokens' shares has perplexity "
            f"{_perplexity_of_shares(streams['train'], streams['valid'], tokens.size):.4g} on the validation texts",
        )
        return Description(facts, tuple(self._doubts(streams, tokens.unknown)), windows)

    def _doubts(self, streams: Mapping[str, NDArray[np.int32]], unknown: int | None) -> Iterator[str]:
        yield from self.lacking.lines()
        share = 0.0 if unknown is None else float((streams["valid"] == unknown).mean())
        if share > 0.1:
            yield f"{share:.2g} of the validation texts' tokens are not among those of training"
        trained = remembered(self.texts("train"))
        for split in ("valid", "test"):
            texts = self.texts(split)
            shared = how_many(texts, trained)
            if shared:
                yield f"{shared} of {len(texts)} {split} texts are training texts too; scores are flattered"


def in_windows(stream: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Codes [c] in windows [n, size + 1], which share their ends; what lacks of the last is `NOTHING`.

    >>> in_windows(np.array([0, 5, 6, 0], dtype=np.int32), 2).tolist()
    [[0, 5, 6], [6, 0, -1]]
    """
    count = max(-(-(len(stream) - 1) // size), 1)
    filled = np.full(count * size + 1, NOTHING, np.int32)
    filled[: len(stream)] = stream
    windows: NDArray[np.int32] = np.lib.stride_tricks.sliding_window_view(filled, size + 1)[::size]
    return windows.copy()


def each_text(texts: list[str], tokens: Tokens) -> tuple[NDArray[np.int32], int]:
    """Each text as a window of its own [n, t], from its beginning to its end, and how many were cut."""
    longest = min(int(tokens.lengths(texts).max()), MOST_TOKENS)
    codes, cut = tokens.codes(texts, max(longest, 1))
    windows = np.full((len(texts), codes.shape[1] + 2), NOTHING, np.int32)
    windows[:, 0] = 0
    windows[:, 1:-1] = np.where(codes > 0, codes, NOTHING)
    whole = np.flatnonzero(~cut)
    windows[whole, 1 + (codes[whole] > 0).sum(axis=1)] = 0  # of one that is cut nobody knows how it ends
    return windows, int(cut.sum())


def _perplexity_of_shares(train: NDArray[np.int32], valid: NDArray[np.int32], size: int) -> float:
    """That of a model that knows how often each code is said, by Laplace's rule, and nothing else."""
    counts = np.bincount(train[1:], minlength=size) + 1.0
    return float(np.exp(-np.log(counts / counts.sum())[valid[1:]].mean()))


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `language_model` come to."""
    return Stream(LanguageOptions.parse(options)).describe()
