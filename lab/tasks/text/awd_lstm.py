"""The AWD-LSTM: a language model, and what it makes of a whole text (Merity et al. 2017, arXiv 1708.02182).

Shapes: b windows or texts, t tokens, e numbers of an embedding, v codes. Code 0 stands before and between texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tasks.text.by_length import by_length
from lab.tasks.transfer.head import head, with_head

USUAL = 0.5
"""What the rates are multiplied by where no trial says: between what fastai's course takes for either task."""
_WITHIN = 0.1
"""An embedding's first numbers lie between this and its negative, as in the paper."""
_LEAST = -80.0
"""The least logarithm of a probability: its exponential, and the inverse of that, are numbers in float32."""
_ROWS = 1024
"""Tokens whose logits are made at once: memory that is used again costs less than new memory."""
_TOGETHER = 64
"""Texts of like lengths at a time, on a processor: with fewer, steps of the LSTM are too small to be any faster."""
_TEXTS = 128
"""Texts or windows that are read at once where nothing is learned."""


@dataclass(frozen=True)
class Rates:
    """The rates of each kind of dropout."""

    embedding: float
    """That of whole words, wherever they stand in a batch."""
    input: float
    """That of an embedding's numbers, the same at each token of a text; so are the next two."""
    hidden: float
    """Between layers."""
    output: float
    """Behind the last layer; in a classifier, that of its head."""
    weight: float
    """That of the weights from a layer's state to its next one."""

    @classmethod
    def of(cls, params: Mapping[str, Any], usual: Rates) -> Rates:
        """Those that a trial's hyperparameters say (`weight_dropout`, ...), or the usual ones, times its `dropout`."""
        times = float(params.get("dropout", USUAL))
        said = {f.name: float(params.get(f"{f.name}_dropout", getattr(usual, f.name))) for f in fields(cls)}
        return cls(**{name: rate * times for name, rate in said.items()})


OF_LANGUAGE_MODEL = Rates(embedding=0.02, input=0.25, hidden=0.15, output=0.1, weight=0.2)
OF_CLASSIFIER = Rates(embedding=0.05, input=0.4, hidden=0.3, output=0.4, weight=0.5)
"""fastai 2.8 `awd_lstm_lm_config` and `awd_lstm_clas_config`."""
NONE = Rates(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Sizes:
    """What it takes to make an encoder again from its weights."""

    codes: int
    width: int
    """Numbers of an embedding, and units of the last layer."""
    units: int
    """Units of the layers before the last."""
    layers: int

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Sizes:
        return cls(**json.loads(text))

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
        """Those of an encoder whose weights have these shapes by name.

        Raises:
            KeyError, ValueError: they are of something else.
        """
        codes, width = shapes["embedding.weight"]
        layers = sum(name.endswith(".weight_hh_l0") for name in shapes)
        return cls(codes, width, shapes["layers.0.lstm.weight_hh_l0"][1], layers)


def locked_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout of x [b, t, e] that is the same at every t (Gal and Ghahramani 2016)."""
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), rate) if training and rate else x


class _Layer(nn.Module):
    """An LSTM of one layer, of whose weights from state to state some are dropped, for a whole batch."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs, batch_first=True)

    def forward(self, x: Tensor, weight_dropout: float) -> Tensor:
        """Inputs [b, t, i] to states [b, t, o], from a state of zeros."""
        lstm = self.lstm
        zeros = x.new_zeros(1, x.shape[0], lstm.hidden_size)
        of_inputs, of_states, *biases = lstm.all_weights[0]
        # What `nn.LSTM` calls, with other weights than its own.
        weights = [of_inputs, F.dropout(of_states, weight_dropout, self.training), *biases]
        states: Tensor = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, self.training, False, True)[0]
        return states


class Encoder(nn.Module):
    """From codes [b, t] to states [b, t, e], each of which has seen the codes up to its own."""

    def __init__(self, sizes: Sizes, rates: Rates = NONE) -> None:
        super().__init__()
        self.rates = rates
        self.embedding = nn.Embedding(sizes.codes, sizes.width)
        nn.init.uniform_(self.embedding.weight, -_WITHIN, _WITHIN)
        widths = [sizes.width, *[sizes.units] * (sizes.layers - 1), sizes.width]
        self.layers = nn.ModuleList(_Layer(inputs, outputs) for inputs, outputs in pairwise(widths))

    def forward(self, codes: Tensor) -> Tensor:
        rates, x = self.rates, self.embedding(codes)
        if self.training and rates.embedding:
            kept = F.dropout(x.new_ones(self.embedding.num_embeddings, 1), rates.embedding)
            x = x * F.embedding(codes, kept)
        x = locked_dropout(x, rates.input, self.training)
        for number, layer in enumerate(self.layers):
            x = layer(locked_dropout(x, rates.hidden, self.training) if number else x, rates.weight)
        out: Tensor = x
        return out


class ConcatPooled(nn.Module):
    """The last, the largest and the mean state of a text's tokens, [b, 3e] (Howard and Ruder 2018, section 3.3)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def features(self) -> int:
        return 3 * self.encoder.embedding.embedding_dim

    def forward(self, codes: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self._pooled(codes)
        # In training, texts that are together have dropped out the same weights and rows of the embedding.
        parts = [codes] if torch.is_grad_enabled() or codes.device.type == "cpu" else torch.split(codes, _TEXTS)
        return torch.cat([by_length(part, self._pooled, _TOGETHER) for part in parts])

    def _pooled(self, codes: Tensor) -> Tensor:
        # A text begins as it does for the language model: behind the end of another.
        states = self.encoder(F.pad(codes, (1, 0)))[:, 1:]
        there = (codes > 0).to(states.dtype)[:, :, None]
        none = there.amax(dim=1) == 0
        columns = torch.arange(codes.shape[1], device=codes.device)
        last = (there[:, :, 0] * columns).argmax(dim=1)
        of_last = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        largest = states.masked_fill(there == 0, -1.0).amax(dim=1)  # no state is less
        mean = (states * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0)
        return torch.cat([of_last, largest, mean], dim=1).masked_fill(none, 0.0)


def classifier(encoder: Encoder, rates: Rates, classes: int, hidden: int) -> nn.Module:
    """An encoder with a new head, from codes [b, t] to logits [b, classes]; that of ULMFiT has 50 hidden units."""
    encoder.rates = rates
    body = ConcatPooled(encoder)
    return with_head(body, body.features, head(body.features, classes, rates.output, hidden))


def depth(model: nn.Module) -> int:
    """The embedding, the layers and the head of what `classifier` makes: each is a parameter group in ULMFiT."""
    encoder = model.get_submodule("body.encoder")
    assert isinstance(encoder, Encoder)
    return len(encoder.layers) + 2


class NextToken(nn.Module):
    """A language model whose last layer's weights are those of the embedding (Press and Wolf 2017).

    It gives no logits: those of a whole split would not fit a machine's memory.
    """

    def __init__(self, sizes: Sizes, rates: Rates) -> None:
        super().__init__()
        self.encoder = Encoder(sizes, rates)
        self.bias = nn.Parameter(torch.zeros(sizes.codes))

    def forward(self, codes: Tensor) -> Tensor:
        """Windows [b, t + 1] of codes, with -1 behind the end, to [b, 2, t]: the probability of each token but the
        first by those before it, and whether it was the likeliest (not asked for in training)."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._said(codes)
        return torch.cat([self._said(part) for part in torch.split(codes, _TEXTS)])

    def _said(self, codes: Tensor) -> Tensor:
        seen, following = codes[:, :-1].clamp(min=0), codes[:, 1:].clamp(min=0)
        encoder = self.encoder
        states = locked_dropout(encoder(seen), encoder.rates.output, self.training)
        states, targets = states.flatten(0, 1), following.flatten()
        if torch.compiler.is_compiling():
            said = self._of_tokens(states, targets)
        else:
            parts = zip(torch.split(states, _ROWS), torch.split(targets, _ROWS), strict=True)
            said = torch.cat([self._of_tokens(*part) for part in parts], dim=1)
        return said.view(2, *following.shape).transpose(0, 1)

    def _of_tokens(self, states: Tensor, targets: Tensor) -> Tensor:
        logits = F.linear(states, self.encoder.embedding.weight, self.bias)
        probability = (-F.cross_entropy(logits, targets, reduction="none")).clamp(min=_LEAST).exp()
        hit = torch.zeros_like(targets) if self.training else logits.argmax(dim=1) == targets
        return torch.stack([probability, hit.to(probability.dtype)])
