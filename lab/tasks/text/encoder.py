"""The encoder of a language model's study as a body of a classifier, kept in the classifier's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from lab.errors import TaskError
from lab.tasks.text.awd_lstm import ConcatPooled, Encoder, Sizes
from lab.tasks.text.body import Body
from lab.tasks.text.delivered import Delivered, delivered, how_many
from lab.tasks.text.options import TextOptions
from lab.tasks.text.tokens import Tokens
from lab.tasks.transfer.begun import begun_with
from lab.tasks.transfer.weights import check_may_fetch, keep_weights, kept_at, load_weights, read_weights

_OF_MODEL = "encoder."
"""With which the names of a language model's encoder begin."""


@dataclass(frozen=True)
class BegunWith:
    """The language model that a classifier began with."""

    study: str
    """The folder that was asked for."""
    tokens: str
    seen: str
    digest: str
    """By which its encoder's weights are known again."""
    config: str
    """By which the encoder is made again."""

    def doubts(self, test: Sequence[str]) -> tuple[str, ...]:
        """A line on test texts that it has learned from."""
        shared = how_many(test, self.seen)
        if not shared:
            return ()
        return (
            f"{shared} of {len(test)} test texts were read by the language model, without what is said of them; split "
            "its texts as these, by its task.target and task.split",
        )


def language_model(options: TextOptions, folder: Path | None, fetches: bool) -> BegunWith:
    """The language model of `task.from_study`, kept as `lab.tasks.transfer.begun` says.

    Args:
        fetches: whether anything but the study's folder may be read for it.

    Raises:
        LabError: as `delivered`, or its weights are of no encoder with its tokens.
    """
    asked = str(options.from_study)

    def take() -> BegunWith:
        taken = delivered(options)
        body = _body_of(taken)
        keep_weights(body.net, folder, body.digest)
        return BegunWith(asked, taken.tokens, taken.seen, body.digest, body.config)

    return begun_with(BegunWith, asked, folder, fetches, take)


def kept_encoder(options: TextOptions, folder: Path | None, digest: str, config: str, fetches: bool) -> Body:
    """The encoder with these weights, from the study's folder where it is kept.

    Raises:
        TaskError: the weights have changed since the study began, or may not be asked for.
    """
    path = kept_at(folder, digest)
    if path is None:
        check_may_fetch(str(options.from_study), fetches)
        body = _body_of(delivered(options))
    else:
        body = _body(Sizes.load(config))
        load_weights(body.net, load_file(path), frozenset(), str(path))
    if body.digest != digest:
        raise TaskError(f"the weights of '{options.from_study}' are not those that the study began with")
    keep_weights(body.net, folder, digest)
    return body


def _body_of(taken: Delivered) -> Body:
    tensors = read_weights(taken.weights)
    own = {n.removeprefix(_OF_MODEL): tensor for n, tensor in tensors.items() if n.startswith(_OF_MODEL)}
    try:
        sizes = Sizes.of({name: tuple(tensor.shape) for name, tensor in own.items()})
    except (KeyError, ValueError):
        raise TaskError(f"{taken.weights}: are no weights of an AWD-LSTM") from None
    codes = Tokens(taken.tokens).size
    if sizes.codes != codes:
        raise TaskError(f"{taken.weights}: has embeddings of {sizes.codes} codes, and its tokens have {codes}")
    body = _body(sizes)
    load_weights(body.net.encoder, own, frozenset(), str(taken.weights))  # type: ignore[arg-type]
    return body


def _body(sizes: Sizes) -> Body:
    with torch.random.fork_rng(devices=[]):
        net = ConcatPooled(Encoder(sizes)).eval()
    return Body(net, sizes.dump())
