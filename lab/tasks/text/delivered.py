"""A finished study of a language model, as a classifier begins with it. Reads JSON and names, runs nothing; no torch.

n texts.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError
from lab.tasks.text.options import TextOptions
from lab.tasks.text.tokens import Tokens, from_file
from lab.tasks.transfer.finished import finished

_HASH_BYTES = 8


@dataclass(frozen=True)
class Delivered:
    """What a language model's study hands out, as far as a classifier needs it."""

    tokens: str
    """The tokenizer as it saves itself."""
    seen: str
    """Its training and validation texts, as `remembered` has them."""
    weights: Path
    """The net that counts most; of equals the first."""


def delivered(options: TextOptions) -> Delivered:
    """What the study of `task.from_study` hands out.

    Raises:
        SpecError: there is no such study, it is none of a language model, or the spec's tokenizer is another.
        TaskError: it has not finished, or is damaged.
    """
    assert options.from_study is not None  # whoever asks has seen it
    study = finished(options.from_study)
    if not {"tokens", "window", "seen"} <= study.fitted.keys():
        raise SpecError("task.from_study", f"'{study.folder}' is no study of a language_model")
    tokens = Tokens(str(study.fitted["tokens"])).dump()
    if options.tokenizer is not None and from_file(Path(options.tokenizer)).dump() != tokens:
        raise SpecError(
            "task.tokenizer", f"has another vocabulary than the language model of '{study.folder}'; leave it out"
        )
    return Delivered(tokens, str(study.fitted["seen"]), study.handed_out())


def remembered(texts: Sequence[str]) -> str:
    """By which texts are known again, whatever their case and spaces.

    >>> how_many("A good film", "bad"), remembered(["a  GOOD film"]))
    1
    """
    return base64.b64encode(np.unique(_hashes(texts)).tobytes()).decode()


def how_many(texts: Sequence[str], seen: str) -> int:
    """How many of some texts are among those that `remembered` has."""
    return int(np.isin(_hashes(texts), np.frombuffer(base64.b64decode(seen), dtype=np.uint64)).sum())


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    plain = (" ".join(text.casefold().split()).encode(errors="replace") for text in texts)
    digests = b"".join(hashlib.blake2b(text, digest_size=_HASH_BYTES).digest() for text in plain)
    return np.frombuffer(digests, dtype=np.uint64)
