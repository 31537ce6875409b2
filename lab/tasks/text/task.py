"""The task `text`: what a text is about. n texts, t tokens, k slots, b examples of a batch, c classes or labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.tasks.description import Description
from lab.tasks.options import constructed_by
from lab.tasks.table.from_frame import as_file, is_frame
from lab.tasks.table.target import Target
from lab.tasks.targeted_task import TargetedTask
from lab.tasks.task import Baseline, Data, Given, Kind, Split
from lab.tasks.text.awd_lstm import OF_CLASSIFIER, ConcatPooled, Rates, classifier, depth
from lab.tasks.text.body import Body
from lab.tasks.text.corpus import Begun, Corpus, Fitted, brought
from lab.tasks.text.counts import counts
from lab.tasks.text.encoder import BegunWith, kept_encoder, language_model
from lab.tasks.text.from_nothing import net_from_nothing
from lab.tasks.text.options import AWD_LSTM, TextOptions
from lab.tasks.text.pretrained import kept_body
from lab.tasks.text.reading import plain_texts, read_later, texts_of
from lab.tasks.text.tokens import Tokens
from lab.tasks.to_values import with_values
from lab.tasks.transfer.adapter import AdaptedBody
from lab.tasks.transfer.features import digest_of, features, kept_features, scale_of, scaled
from lab.tasks.transfer.head import groups_of, head, with_head

_RECIPE = """\
import json
from pathlib import Path

from tokenizers import Tokenizer

made = json.loads(Path("config.json").read_text(encoding="utf-8"))["preprocessing"]
tokenizer = Tokenizer.from_str(made["tokens"])
tokenizer.enable_truncation(made["length"])
texts = ["a text", "another one"]
x = torch.zeros(len(texts), made["length"], dtype=torch.int32)
for row, encoding in enumerate(tokenizer.encode_batch(texts)):
    x[row, : len(encoding.ids)] = torch.tensor(encoding.ids) + 1
"""
_SHOWN = 600
"""Characters of an example that a page shows."""


class Text(TargetedTask):
    """Classes, labels or values of texts, or several targets of different kinds.

    The parameters are those of `TextOptions`, and hyperparameters it knows `dropout`, `word_dropout`, `width`,
    `hidden`, `layers` and `balance`.

    >>> rows = [f"a {'good' if n % 2 else 'bad'} film with {n % 5} stars,{n % 2}" for n in range(60)]
    >>> _ = Path("films.csv").write_text("\\n".join(["text,label", *rows]))
    >>> task = Text("films.csv")
    >>> task.kind, task.metric, task.data("train")[0].shape
    ('classification', 'accuracy', torch.Size([36, 6]))
    """

    paths = TextOptions.paths()
    soft_targets = True

    @constructed_by(TextOptions)
    def __init__(self, options: TextOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._corpus = Corpus(options, self._brought if options.from_study else brought(options))
        self._fitted: Fitted | None = None
        self._tensors: dict[Split, Data] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the texts itself."""
        return _rebuilt, (type(self), dict(self.options), self.cache, self._fitted)

    @property
    def _of_texts(self) -> Fitted:
        return self._fitted or self._corpus.fitted

    @property
    def _learned(self) -> Fitted:
        """What was learned from the texts and, beside it, what is known of the body that the net begins with."""
        return self._fitted or (self._with_body if self._options.transfers else self._corpus.fitted)

    @cached_property
    def _language_model(self) -> BegunWith:
        return language_model(self._options, self.cache, self.fetches)

    def _brought(self) -> Tokens:
        return Tokens(self._language_model.tokens)

    @cached_property
    def _body(self) -> Body:
        begun = self._of_texts.body
        if self._options.from_study:
            of = begun or self._language_model
            return kept_encoder(self._options, self.cache, of.digest, of.config, self.fetches)
        digest, config = ("", "") if begun is None else (begun.digest, begun.config)
        return kept_body(self._options, self.cache, digest, config, self.fetches)

    @cached_property
    def _adapted(self) -> AdaptedBody | None:
        plan = self._options.plan()
        return None if plan is None else AdaptedBody(self._body.net, plan)

    @cached_property
    def _with_body(self) -> Fitted:
        texts, body = self._corpus.fitted, self._body
        begun = Begun(body.digest, body.config, body.features_of(texts.length))
        if self._options.trains_head:
            made = self._made(self._coded_split("train"), begun)
            center, spread = scale_of(made)
            begun = replace(begun, center=center, spread=spread)
            labels = torch.from_numpy(self._corpus.labels("train"))
            self._tensors["train"] = scaled(made, center, spread), labels
        return replace(texts, body=begun)

    @cached_property
    def _size(self) -> int:
        """How many codes there are."""
        return Tokens(self._of_texts.tokens).size

    # What the target decides; read-only where the contract has plain attributes, as it is known only with the data.

    @property
    def kind(self) -> Any:  # type: ignore[override]
        return self._of_texts.target.kind

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        several = self._several
        return self._of_texts.target.class_names if several is None else several.columns

    @property
    def _target(self) -> Target:
        return self._of_texts.target

    # The contract.

    def data(self, split: Split) -> Data:
        """Codes int32 [n, t], or features [n, f] where the head alone is trained; classes [n], labels [n, c] or values
        [n, number of targets]."""
        if self._options.trains_head and not self._tensors:
            _ = self._learned  # for which the training texts' features may have to be made
        if split not in self._tensors:  # a lane has no use for the test texts
            x = self._inputs(self._coded_split(split))
            self._tensors[split] = x, torch.from_numpy(self._corpus.labels(split))
        return self._tensors[split]

    def _coded_split(self, split: Split) -> Tensor:
        return torch.from_numpy(self._corpus.codes(split, self._of_texts))

    def _inputs(self, codes: Tensor) -> Tensor:
        """What is trained on: codes, or features of one scale."""
        if not self._options.trains_head:
            return codes
        begun = self._learned.body
        assert begun is not None  # there is a body whose head is trained
        return scaled(self._made(codes, begun), begun.center, begun.spread)

    def _made(self, codes: Tensor, begun: Begun) -> Tensor:
        """Features of the frozen body [n, f], made once, of texts of like lengths together: a batch costs what its
        longest text does."""
        name = f"features-{digest_of(codes, begun.digest)}.safetensors"

        def make() -> Tensor:
            order = (codes > 0).sum(dim=1).argsort(stable=True)
            made = features(self._body.net, Tensor.long, codes[order])
            return torch.empty_like(made).index_copy_(0, order, made)

        return kept_features(self.cache / name if self.cache else None, make)

    def fold_of_rows(self) -> NDArray[np.int64] | None:
        return self._corpus.folds

    def group_of_rows(self) -> NDArray[Any] | None:
        return self._corpus.groups

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        options, fitted = self._options, self._learned
        classes, hidden = len(self.class_names), int(params.get("hidden", options.hidden))
        if fitted.body is None:
            return self._with_values(net_from_nothing(options, params, self._size, fitted.length, classes))
        features, dropout = fitted.body.features, float(params.get("dropout", 0.0))
        new = partial(head, features, classes, dropout, hidden)
        if options.trains_head:
            return with_values(new(), fitted.target)
        if self._adapted is not None:
            return self._adapted.net(nn.BatchNorm1d(features), with_values(new(), fitted.target), params)
        body = copy.deepcopy(self._body.net)
        if isinstance(body, ConcatPooled):
            return self._with_values(classifier(body.encoder, Rates.of(params, OF_CLASSIFIER), classes, hidden))
        return self._with_values(with_head(body, features, new()))

    def _with_values(self, net: nn.Module) -> nn.Module:
        """A net whose head ends in values, where the target has some."""
        with_values(net.get_submodule("head"), self._target)
        return net

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        """Where a pretrained body, or an AWD-LSTM, is trained: its parameters, in as many groups as asked for, and
        those of the head."""
        options = self._options
        if options.trains_head or not (options.transfers or options.model == AWD_LSTM):
            return ()
        count = options.layer_groups or (2 if options.model != AWD_LSTM else depth(model))
        return groups_of(model, count)

    def model_input(self, x: Tensor) -> Tensor:
        return x if self._options.trains_head else x.long()

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """How much examples, or targets, count, and for each token whether it is left out [b, t]."""
        options: TextOptions = self._options
        count, length = self._counts(params, examples), self._learned.length
        drawn = [] if count is None else [count]
        # Texts so short would have as many numbers of the one as of the other.
        alike = count is not None and length <= count.shape[1]
        if not options.trains_head and ("word_dropout" in params or options.word_dropout or alike):
            rate = float(params.get("word_dropout", options.word_dropout))
            drawn.append((random.random((examples, length)) < rate).astype(np.float32))
        return np.concatenate(drawn, axis=1) if drawn else None

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        """Texts that lack some of their tokens, and targets beside how much they count."""
        length = self._learned.length
        if not self._options.trains_head and draws.shape[-1] >= length:
            x = x.masked_fill(draws[..., -length:] > 0, 0)
            draws = draws[..., :-length]
        return x, self._counted(y, draws)

    # A user's later files and the report.

    def prepare(self, raw: NDArray[Any]) -> Tensor:
        """Texts [n]."""
        return self._coded([str(text) for text in raw.tolist()])[0]

    def read(self, path: str | Path) -> Given:
        """Texts of a table like the training one, of a folder of .txt files, or of one .txt file, a line each."""
        path = Path(path)
        table, names = read_later(path, self._options)
        x, notes = self._coded(texts_of(table, self._options.text))
        y, why_not = self._learned.target.values_in(table)
        return Given(x, None if y is None else torch.from_numpy(y), names=names, notes=(*notes, *why_not))

    def accept(self, raw: Any) -> Given:
        """Texts, or rows of a pandas frame like the training table."""
        if is_frame(raw):
            with as_file(raw) as path:
                return self.read(path)
        x, notes = self._coded(plain_texts(raw))
        return Given(x, notes=notes)

    def _coded(self, texts: list[str]) -> tuple[Tensor, tuple[str, ...]]:
        """Texts as the net takes them, and what was odd about them."""
        fitted = self._learned
        codes, cut = Tokens(fitted.tokens).codes(texts, fitted.length)
        empty, notes = int((codes == 0).all(axis=1).sum()), []
        if empty:
            notes.append(f"{empty} of {len(texts)} texts are empty; what is said of them is said of nothing")
        if cut.any():
            notes.append(f"{int(cut.sum())} of {len(texts)} texts are cut after {fitted.length} tokens")
        return self._inputs(torch.from_numpy(codes)), tuple(notes)

    def data_names(self) -> Mapping[str, Sequence[str]]:
        return self._corpus.target.data_names

    def fitted(self) -> Mapping[str, Any]:
        return self._learned.dump()

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = Fitted.load(fitted)

    @property
    def recipe(self) -> str:
        return "" if self._options.trains_head else _RECIPE

    def describe(self) -> Description:
        described, fitted = self._corpus.describe(), self._learned
        if fitted.body is None:
            return described
        options = self._options
        what = f"the language model of {options.from_study}" if options.from_study else options.weights or options.model
        began = f"the net begins with {what}, and has a new head"
        frozen = f"; its body makes {fitted.body.features} features of each text once, and is not trained"
        facts = (*described.facts, began + (frozen if options.trains_head else ""))
        if not options.from_study:
            return replace(described, facts=facts)
        doubts = self._language_model.doubts(self._corpus.texts("test"))
        return replace(described, facts=facts, warnings=(*described.warnings, *doubts))

    def features(self, x: Tensor) -> Any:
        """How often each token, and each pair of neighbours, stands in a text: a sparse matrix [n, f]; or the frozen
        body's features [n, f]."""
        return super().features(x) if self._options.trains_head else counts(x.cpu().numpy(), self._size)

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        """A constant, and a linear model of tf-idf of tokens and pairs of them, or of the frozen body's features."""
        from lab.tasks.baselines import constant_of, linear_model, linear_of, of_tensors, of_values

        parts = [] if self._several is None else list(self._several.parts.values())
        if self._options.trains_head:
            return of_tensors(self, seed) if self.kind != "regression" else of_values(self, parts)
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline

        def sparse(kind: Kind) -> Any:  # a ridge chosen by all rows' products would need their square in memory
            return Ridge(solver="sparse_cg") if kind == "regression" else linear_model(kind)

        name, model = linear_of(self.kind, parts, sparse)
        linear = make_pipeline(TfidfTransformer(sublinear_tf=True), model)
        return constant_of(self, parts), Baseline(f"tf-idf and {name}", linear, joins=not parts)

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        text = " ".join(self._corpus.texts(split)[index].split())
        return {"text": text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."}


def _rebuilt(cls: type[Text], options: dict[str, Any], cache: Path | None, fitted: Fitted | None) -> Text:
    task = cls(**options)
    task.cache = cache
    task._fitted = fitted
    return task
