"""The task `language_model`: which token comes next. n windows or texts, t tokens of each, k slots.

What it learns is the beginning of a classifier of texts (`task.from_study`; Howard and Ruder 2018, arXiv 1801.06146).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.tasks.description import Description
from lab.tasks.options import constructed_by
from lab.tasks.table.from_frame import as_file, is_frame
from lab.tasks.task import Baseline, Data, Given, Metric, Split, Task
from lab.tasks.text.awd_lstm import OF_LANGUAGE_MODEL, NextToken, Rates, Sizes
from lab.tasks.text.options import MOST_TOKENS, LanguageOptions
from lab.tasks.text.reading import plain_texts, read_later, texts_of
from lab.tasks.text.stream import FittedLanguage, Stream, each_text
from lab.tasks.text.tokens import Tokens

_RECIPE = """\
import json
from pathlib import Path

from tokenizers import Tokenizer

made = json.loads(Path("config.json").read_text(encoding="utf-8"))["preprocessing"]
tokenizer = Tokenizer.from_str(made["tokens"])
texts = ["a text", "another one"]
x = torch.full((len(texts), made["window"] + 1), -1, dtype=torch.int32)
for row, encoding in enumerate(tokenizer.encode_batch(texts)):
    codes = torch.tensor([0, *(i + 1 for i in encoding.ids), 0])[: x.shape[1]]
    x[row, : len(codes)] = codes  # values[:, 0] are the probabilities of all but the first
"""
_LEAST = 1e-38
"""A probability counts as no smaller than this."""
_WORST = 50.0
"""The largest mean loss whose perplexity is told apart."""
_SHOWN = 600
"""Characters of a window that a page shows."""


def _losses(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """-log p of each token [n, t], and which tokens there are."""
    there = target >= 0
    return -output[:, 0].clamp(min=_LEAST).log() * there, there


def perplexity(output: Tensor, target: Tensor) -> Tensor:
    """The exponential of the mean -log p of all tokens; output [n, 2, t], target [n, t]."""
    losses, there = _losses(output, target)
    return (losses.double().sum() / there.sum()).clamp(max=_WORST).exp()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of all tokens that were the likeliest; of an ensemble, the mean of its members' shares."""
    there = target >= 0
    return (output[:, 1] * there).double().sum() / there.sum()


class LanguageModel(Task):
    """An AWD-LSTM that says the next token of texts.

    The parameters are those of `LanguageOptions`, and hyperparameters it knows `dropout`, which all rates of dropout
    are multiplied by, each of them (`weight_dropout`, ...), `width`, `units` and `layers`.

    A window of tokens is an example, so that windows are shuffled and trials stacked as examples of any task are. So a
    state ends with its window, and is not carried to the next one: that would tie each row of a batch to the same row
    of the one before.

    >>> _ = Path("lines.txt").write_text("\\n".join(f"a film with {n % 5} good scenes" for n in range(60)))
    >>> task = LanguageModel("lines.txt", window=8)
    >>> task.metric, task.data("train")[0].shape
    ('perplexity', torch.Size([32, 9]))
    """

    # What a model gives is no class but the probability of the right one; those of several models are averaged.
    kind = "regression"
    metric = "perplexity"
    direction = "minimize"
    metrics: Mapping[str, Metric] = MappingProxyType({"perplexity": perplexity, "accuracy": accuracy})
    paths = LanguageOptions.paths()

    @constructed_by(LanguageOptions)
    def __init__(self, options: LanguageOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._stream = Stream(options)
        self._fitted: FittedLanguage | None = None
        self._tensors: dict[Split, Data] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the texts itself."""
        return _rebuilt, (type(self), dict(self.options), self._fitted)

    @property
    def _learned(self) -> FittedLanguage:
        return self._fitted or self._stream.fitted

    # The contract.

    def data(self, split: Split) -> Data:
        """Windows int32 [n, t + 1] of codes, and their codes but the first [n, t]; -1 is none."""
        if split not in self._tensors:
            self._tensors[split] = _data(self._stream.windows(split, self._learned))
        return self._tensors[split]

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        options = self._options
        width = int(params.get("width", options.width))
        units, layers = int(params.get("units", options.units or width)), int(params.get("layers", options.layers))
        codes = Tokens(self._learned.tokens).size
        return NextToken(Sizes(codes, width, units, layers), Rates.of(params, OF_LANGUAGE_MODEL))

    def model_input(self, x: Tensor) -> Tensor:
        return x.long()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean -log p of each window's tokens, [n]."""
        losses, there = _losses(output, target)
        return losses.sum(dim=1) / there.sum(dim=1).clamp(min=1)

    # A user's later files and the report.

    def prepare(self, raw: NDArray[Any]) -> Tensor:
        """Texts [n]."""
        return torch.from_numpy(each_text([str(text) for text in raw.tolist()], Tokens(self._learned.tokens))[0])

    def read(self, path: str | Path) -> Given:
        """Texts of a table like the training one, of a folder of .txt files, or of one .txt file, a line each."""
        path = Path(path)
        table, names = read_later(path, self._options)
        return self._to_predict(texts_of(table, self._options.text), names)

    def accept(self, raw: Any) -> Given:
        """Texts, or rows of a pandas frame like the training table."""
        if is_frame(raw):
            with as_file(raw) as path:
                return self.read(path)
        return self._to_predict(plain_texts(raw))

    def _to_predict(self, texts: list[str], names: tuple[str, ...] = ()) -> Given:
        windows, cut = each_text(texts, Tokens(self._learned.tokens))
        notes = (f"{cut} of {len(texts)} texts are cut after {MOST_TOKENS} tokens",) if cut else ()
        return Given(*_data(windows), names=names, notes=notes)

    def readable(self, prediction: Tensor, target: Tensor | None) -> Mapping[str, Tensor]:
        """Each text's perplexity, and the share of its tokens that were the likeliest."""
        assert target is not None  # a text says itself what follows
        rows = list(zip(torch.split(prediction, 1), torch.split(target, 1), strict=True))
        return {name: torch.stack([metric(*row) for row in rows]).float() for name, metric in self.metrics.items()}

    def fitted(self) -> Mapping[str, Any]:
        return self._learned.dump()

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = FittedLanguage.load(fitted)

    @property
    def recipe(self) -> str:
        return _RECIPE

    def describe(self) -> Description:
        return self._stream.describe()

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        """None: what the shares of the tokens come to is said of the data."""
        return ()

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        text = Tokens(self._learned.tokens).text(self.data(split)[0][index].tolist())
        return {"text": text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."}


def _data(windows: NDArray[np.int32]) -> Data:
    x = torch.from_numpy(windows)
    return x, x[:, 1:].contiguous()


def _rebuilt(cls: type[LanguageModel], options: dict[str, Any], fitted: FittedLanguage | None) -> LanguageModel:
    task = cls(**options)
    task._fitted = fitted
    return task
