"""A net of Hugging Face's `transformers` that was trained before: a body that makes features of texts.

Shapes: b texts, t tokens, e numbers of a token, f features of a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lab.errors import SpecError, TaskError, install_extra
from lab.tasks.text.body import Body
from lab.tasks.text.by_length import by_length
from lab.tasks.text.nets import mean_of_tokens
from lab.tasks.text.options import HF, TextOptions
from lab.tasks.text.tokens import Tokens
from lab.tasks.transfer.weights import check_may_fetch, keep_weights, kept_at
from lab.tasks.user_code import said_by

_T = TypeVar("_T")


class Pooled(nn.Module):
    """The mean of what a net makes of a text's tokens, [b, f].

    Args:
        net: from `input_ids` and `attention_mask` [b, t] to an object with `last_hidden_state` [b, t, f].
        padding: the net's own number for no token.
    """

    cuts = True
    """Whether columns are left out that no text reaches, as `by_length` says."""

    def __init__(self, net: nn.Module, padding: int) -> None:
        super().__init__()
        self.net, self.padding = net, padding

    def forward(self, codes: Tensor) -> Tensor:
        if self.cuts and not torch.compiler.is_compiling():
            return by_length(codes, self._pooled)
        return self._pooled(codes)

    def _pooled(self, codes: Tensor) -> Tensor:
        there = codes > 0
        numbers = torch.where(there, codes - 1, self.padding)
        # A text without tokens must hear something, or its attention is over nothing.
        heard = there | ~there.any(dim=1, keepdim=True)
        states = self.net(input_ids=numbers, attention_mask=heard.long()).last_hidden_state
        return mean_of_tokens(states, there.to(states.dtype))


def body_tokens(options: TextOptions) -> Tokens:
    """The tokenizer that belongs to a body.

    Raises:
        SpecError: its library is not installed, or it has none that can be read.
    """
    transformers, name = _library(), _name(options)
    made = _had(options, lambda: transformers.AutoTokenizer.from_pretrained(name))
    backend = getattr(made, "backend_tokenizer", None)
    if backend is None:
        raise SpecError(_where(options), f"{name!r} has no tokenizer.json")
    return Tokens(backend.to_str())


def kept_body(options: TextOptions, folder: Path | None, digest: str, config: str, fetches: bool = True) -> Body:
    """The body that a spec asks for, from a study's folder where it was kept; the process's random state stays.

    Args:
        digest, config: those of the body which the study began with, or empty before it has begun.
        fetches: whether weights that are not there may be asked for.

    Raises:
        SpecError: there is no such net, or its library is not installed.
        TaskError: the weights have changed since the study began, or may not be asked for.
    """
    transformers = _library()
    with torch.random.fork_rng(devices=[]):
        path = kept_at(folder, digest)
        if path is None:
            check_may_fetch(_name(options), fetches)
            net = _had(options, lambda: transformers.AutoModel.from_pretrained(_name(options), dtype=torch.float32))
            body = _body(net)
        else:
            entries = json.loads(config)
            kind = entries.pop("model_type")
            body = _body(transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **entries)))
            body.net.load_state_dict(load_file(path))
    body.net.requires_grad_(True).eval()
    if digest and body.digest != digest:
        raise TaskError(f"the weights of {_name(options)!r} are not those that the study began with")
    keep_weights(body.net, folder, body.digest)
    return body


def _body(net: Any) -> Body:
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # of one token, which is not what is used here
    padding = net.config.pad_token_id
    return Body(Pooled(net, 0 if padding is None else int(padding)), net.config.to_json_string(use_diff=False))


def _name(options: TextOptions) -> str:
    """A folder, or what the Hub calls it."""
    if options.weights is not None:
        return options.weights
    return options.model.removeprefix(HF)


def _where(options: TextOptions) -> str:
    return "task.model" if options.weights is None else "task.weights"


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise SpecError("task.model", f"'{HF}' needs: {install_extra('text')}") from None
    library: Any = transformers
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def _had(options: TextOptions, make: Callable[[], _T]) -> _T:
    """What the library makes; what it raises is said in a line."""
    if options.weights is not None and not Path(options.weights).is_dir():
        raise SpecError("task.weights", f"{options.weights!r} is not a folder")
    try:
        return make()
    except Exception as error:  # no network, no such name, a file that is damaged or lacks
        raise SpecError(_where(options), f"{_name(options)!r} cannot be had ({said_by(error)})") from None
