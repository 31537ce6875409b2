"""A finished study of a language model, as a classifier begins with it. Reads JSON and names, runs nothing; no torch.

n texts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError
from lab.spec.folder_names import FINAL, REFIT, TASK_FILE, artefact_file
from lab.spec.snapshot_file import snapshot_of
from lab.tasks.text.options import TextOptions
from lab.tasks.text.tokens import Tokens, from_file

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
    folder = Path(options.from_study)
    if not folder.is_dir():
        raise SpecError("task.from_study", f"'{folder}' is not a folder")
    if not (folder / TASK_FILE).exists():
        raise SpecError("task.from_study", f"'{folder}' holds no study that has begun ({TASK_FILE} is missing)")
    fitted = _read(folder, TASK_FILE).get("fitted")
    if not isinstance(fitted, dict) or not {"tokens", "window", "seen"} <= fitted.keys():
        raise SpecError("task.from_study", f"'{folder}' is no study of a language_model")
    tokens = Tokens(str(fitted["tokens"])).dump()
    if options.tokenizer is not None and from_file(Path(options.tokenizer)).dump() != tokens:
        raise SpecError("task.tokenizer", f"has another vocabulary than the language model of '{folder}'; leave it out")
    return Delivered(tokens, str(fitted["seen"]), _weights(folder))


def _weights(folder: Path) -> Path:
    if not (folder / artefact_file(REFIT)).exists():
        raise TaskError(f"task.from_study: '{folder}' has not finished; lab study resume {shlex.quote(str(folder))}")
    try:
        where, held = REFIT, _read(folder, artefact_file(REFIT))
        if "skipped" in held:
            where, held = FINAL, _read(folder, artefact_file("ensemble"))["chosen"]
        nets = [member for member in held["members"] if snapshot_of(str(member["file"])) is not None]
        best = max(nets, key=lambda member: float(member["weight"]))
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"task.from_study: '{folder}' hands out no net ({error})") from None
    return _inside(folder, Path(where) / str(best["file"]))


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = _inside(folder, Path(name))
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TaskError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise TaskError(f"{path}: holds no JSON object")
    return value


def _inside(folder: Path, name: Path) -> Path:
    """A file of the folder, which may come from anybody: no link out of it is followed, no pipe waited for."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise TaskError(f"{path}: is a link out of the study's folder")
    if not path.is_file():
        raise TaskError(f"{path}: is missing, or no file")
    return path


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
