"""The task `text`: what a text is about. n texts, t tokens, k slots, b examples of a batch, c classes or labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.balance import balanced, exponent_of, shares_of
from lab.tasks.description import Description
from lab.tasks.options import constructed_by
from lab.tasks.scored_task import ScoredTask
from lab.tasks.table.frame import read_table
from lab.tasks.task import Baseline, Data, Given, Split
from lab.tasks.text.corpus import Corpus, Fitted, texts_of
from lab.tasks.text.counts import counts
from lab.tasks.text.folder import FILE, TEXT, texts_in
from lab.tasks.text.nets import Bag, Convolutions, Transformer
from lab.tasks.text.options import BAG, CNN, TextOptions
from lab.tasks.text.tokens import Tokens

_SHOWN = 600
"""Characters of an example that a page shows."""


class Text(ScoredTask):
    """Classes, or several labels, of texts.

    The parameters are those of `TextOptions`, and hyperparameters it knows `dropout`, `word_dropout`, `width`,
    `hidden`, `layers` and `balance`.

    >>> rows = [f"a {'good' if n % 2 else 'bad'} film with {n % 5} stars,{n % 2}" for n in range(60)]
    >>> _ = Path("films.csv").write_text("\\n".join(["text,label", *rows]))
    >>> task = Text("films.csv")
    >>> task.kind, task.metric, task.data("train")[0].shape
    ('classification', 'accuracy', torch.Size([36, 6]))
    """

    paths = TextOptions.paths()

    @constructed_by(TextOptions)
    def __init__(self, options: TextOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._corpus = Corpus(options)
        self._fitted: Fitted | None = None
        self._tensors: dict[Split, Data] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the texts itself."""
        return _rebuilt, (type(self), dict(self.options), self._fitted)

    @property
    def _learned(self) -> Fitted:
        return self._fitted or self._corpus.fitted

    @cached_property
    def _size(self) -> int:
        """How many codes there are."""
        return Tokens(self._learned.tokens).size

    # What the target decides; read-only where the contract has plain attributes, as it is known only with the data.

    @property
    def kind(self) -> Any:  # type: ignore[override]
        return self._learned.target.kind

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        return self._learned.target.class_names

    # The contract.

    def data(self, split: Split) -> Data:
        """Codes int32 [n, t], and classes [n] or labels [n, c]."""
        if split not in self._tensors:  # a lane has no use for the test texts
            x = torch.from_numpy(self._corpus.codes(split, self._learned))
            self._tensors[split] = x, torch.from_numpy(self._corpus.labels(split))
        return self._tensors[split]

    def fold_of_rows(self) -> NDArray[np.int64] | None:
        return self._corpus.folds

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        options, fitted = self._options, self._learned
        classes, dropout = len(self.class_names), float(params.get("dropout", 0.0))
        width, hidden = int(params.get("width", options.width)), int(params.get("hidden", options.hidden))
        if options.model in (BAG, CNN):
            net = Bag if options.model == BAG else Convolutions
            return net(self._size, classes, width, hidden, dropout)
        if width % options.heads:
            raise TaskError(f"width: {width} does not divide into task.heads: {options.heads}")
        layers = int(params.get("layers", options.layers))
        return Transformer(self._size, fitted.length, classes, width, layers, options.heads, hidden, dropout)

    def model_input(self, x: Tensor) -> Tensor:
        return x.long()

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """How much more rare classes count [b, 1], and for each token whether it is left out [b, t]."""
        options: TextOptions = self._options
        exponent = exponent_of(self, params, options.balance)
        drawn = [] if exponent is None else [np.full((examples, 1), exponent, dtype=np.float32)]
        if "word_dropout" in params or options.word_dropout:
            rate = float(params.get("word_dropout", options.word_dropout))
            drawn.append((random.random((examples, self._learned.length)) < rate).astype(np.float32))
        return np.concatenate(drawn, axis=1) if drawn else None

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        """Texts that lack some of their tokens, and targets that count by their class."""
        length = self._learned.length
        if draws.shape[-1] >= length:
            x = x.masked_fill(draws[..., -length:] > 0, 0)
        if draws.shape[-1] in (1, length + 1):
            target = nn.functional.one_hot(y, len(self.class_names)).to(torch.float32)
            y = balanced(target, draws[..., 0], self._shares.to(y.device))
        return x, y

    @cached_property
    def _shares(self) -> Tensor:
        return shares_of(self.data("train")[1], len(self.class_names))

    # A user's later files and the report.

    def prepare(self, raw: NDArray[Any]) -> Tensor:
        """Texts [n]."""
        return torch.from_numpy(self._coded([str(text) for text in raw.tolist()])[0])

    def read(self, path: Path) -> Given:
        """Texts of a table like the training one, of a folder of .txt files, or of one .txt file, a line each."""
        options, fitted = self._options, self._learned
        if path.is_dir():
            table = texts_in(path)
            x, notes = self._coded(texts_of(table, TEXT))
            return Given(torch.from_numpy(x), names=tuple(map(str, table[FILE])), notes=notes)
        if path.suffix.lower() == ".txt":
            x, notes = self._coded(_lines(path))
            return Given(torch.from_numpy(x), notes=notes)
        table = read_table(path, options, {options.text: options.missing})
        if options.text not in table.columns:
            raise TaskError(f"{path}: has no column {options.text!r}")
        x, notes = self._coded(texts_of(table, options.text))
        y = None
        if set(fitted.target.names) <= set(table.columns):
            try:
                y = torch.from_numpy(fitted.target.values(table))
            except TaskError as error:  # what is to be predicted is often there and empty
                notes += (f"is not scored: {error}",)
        return Given(torch.from_numpy(x), y, notes=notes)

    def _coded(self, texts: list[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        fitted = self._learned
        codes, cut = Tokens(fitted.tokens).codes(texts, fitted.length)
        empty, notes = int((codes == 0).all(axis=1).sum()), []
        if empty:
            notes.append(f"{empty} of {len(texts)} texts are empty; what is said of them is said of nothing")
        if cut.any():
            notes.append(f"{int(cut.sum())} of {len(texts)} texts are cut after {fitted.length} tokens")
        return codes, tuple(notes)

    def fitted(self) -> Mapping[str, Any]:
        return self._learned.dump()

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = Fitted.load(fitted)

    def describe(self) -> Description:
        return self._corpus.describe()

    def features(self, x: Tensor) -> Any:
        """How often each token, and each pair of neighbours, stands in a text: a sparse matrix [n, f]."""
        return counts(x.cpu().numpy(), self._size)

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        """A constant, and logistic regression on tf-idf of tokens and pairs of them."""
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.pipeline import make_pipeline

        from lab.tasks.baselines import constant, linear_model, linear_name

        linear = make_pipeline(TfidfTransformer(sublinear_tf=True), linear_model(self.kind))
        return constant(self), Baseline(f"tf-idf and {linear_name(self.kind)}", linear)

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        text = " ".join(self._corpus.texts(split)[index].split())
        return {"text": text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read as UTF-8 ({error})") from None
    if not lines:
        raise TaskError(f"{path}: has no lines")
    return lines


def _rebuilt(cls: type[Text], options: dict[str, Any], fitted: Fitted | None) -> Text:
    task = cls(**options)
    task._fitted = fitted
    return task
