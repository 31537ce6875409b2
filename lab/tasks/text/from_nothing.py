"""Nets of texts that begin with nothing, as a spec's options and a trial's hyperparameters say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from lab.errors import TaskError
from lab.tasks.text.awd_lstm import OF_CLASSIFIER, Encoder, Rates, Sizes, classifier
from lab.tasks.text.nets import Bag, Convolutions, Transformer
from lab.tasks.text.options import AWD_LSTM, BAG, CNN, TextOptions


def net_from_nothing(
    options: TextOptions, params: Mapping[str, Any], codes: int, length: int, classes: int
) -> nn.Module:
    """A net from codes [b, length] to logits [b, classes].

    Args:
        codes: how many there are, that of no token included.

    Raises:
        TaskError: a transformer's width does not divide into its heads.
    """
    width, hidden = int(params.get("width", options.width)), int(params.get("hidden", options.hidden))
    layers, dropout = int(params.get("layers", options.layers)), float(params.get("dropout", 0.0))
    if options.model == AWD_LSTM:
        sizes = Sizes(codes, width, int(params.get("units", options.units or width)), layers)
        return classifier(Encoder(sizes), Rates.of(params, OF_CLASSIFIER), classes, hidden)
    if options.model in (BAG, CNN):
        net = Bag if options.model == BAG else Convolutions
        return net(codes, classes, width, hidden, dropout)
    if why := options.refused("width", width):
        raise TaskError(f"width: {width} {why}")
    return Transformer(codes, length, classes, width, layers, options.heads, hidden, dropout)
