"""Texts as codes of their tokens, by Hugging Face's `tokenizers`. Needs no torch.

Shapes: n texts, t tokens. A token's code is 1 + its number in the tokenizer; 0 fills up texts that are shorter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError, install_extra
from lab.tasks.text.options import BPE, WORDS

_UNKNOWN = "[UNK]"
_LEAST = 2
"""How often a word stands in the training texts that has a code of its own."""
_PIECE_CHARACTERS = 1_000_000
"""Characters of a text that are looked at: what follows lies behind the last token that is kept."""
_BATCH = 1024


class Tokens:
    """A tokenizer that is ready.

    Args:
        saved: what `dump` gave.

    Raises:
        SpecError: its library is not installed.
        TaskError: it is no tokenizer.

    >>> tokens = learned(["a good film", "a bad film", "good"], "words", 100)
    >>> Tokens(tokens.dump()).codes(["a good plot", ""], 4)[0].tolist()
    [[2, 4, 1, 0], [0, 0, 0, 0]]
    """

    def __init__(self, saved: str) -> None:
        library = _library()
        try:
            self._tokenizer = library.Tokenizer.from_str(saved)
        except Exception as error:  # the library raises plain ones
            raise TaskError(f"it is no tokenizer ({' '.join(str(error).split())})") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._saved: str = self._tokenizer.to_str()

    def dump(self) -> str:
        """The tokenizer as it saves itself."""
        return self._saved

    @property
    def size(self) -> int:
        """How many codes there are, that of no token included."""
        return 1 + int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def unknown(self) -> int | None:
        """The code of whatever has none of its own; None: every text has codes."""
        number = self._tokenizer.token_to_id(_UNKNOWN)
        return None if number is None else 1 + int(number)

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """How many tokens each text has, [n]."""
        self._tokenizer.no_truncation()
        return np.fromiter((len(encoding.ids) for encoding in self._encoded(texts)), np.int64, len(texts))

    def codes(self, texts: Sequence[str], length: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Codes [n, t] of the first `length` tokens, and which texts were cut there, [n]."""
        self._tokenizer.enable_truncation(length)
        codes, cut = np.zeros((len(texts), length), np.int32), np.zeros(len(texts), np.bool_)
        for row, encoding in enumerate(self._encoded(texts)):
            cut[row] = bool(encoding.overflowing)
            codes[row, : len(encoding.ids)] = encoding.ids
            codes[row, : len(encoding.ids)] += 1
        return codes, cut

    def stream(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Codes [t] of all texts, one behind the other, with a 0 before each and behind the last; a text without tokens
        is left out.

        >>> learned(["a good film", "a bad film", "good"], "words", 100).stream(["a film", "", "good"]).tolist()
        [0, 2, 3, 0, 4, 0]
        """
        self._tokenizer.no_truncation()
        parts: list[NDArray[np.int32]] = []
        for text in texts:
            pieces = [text[begin : begin + _PIECE_CHARACTERS] for begin in range(0, len(text), _PIECE_CHARACTERS)]
            codes = [np.array(encoding.ids, np.int32) + 1 for encoding in self._encoded(pieces)]
            if any(map(len, codes)):
                parts += [np.zeros(1, np.int32), *codes]
        return np.concatenate([*parts, np.zeros(1, np.int32)])

    def text(self, codes: Sequence[int]) -> str:
        """What codes stand for, as far as a tokenizer can say it again."""
        said: str = self._tokenizer.decode([code - 1 for code in codes if code > 0])
        return said

    def _encoded(self, texts: Sequence[str]) -> Iterator[Any]:
        for begin in range(0, len(texts), _BATCH):
            batch = [text[:_PIECE_CHARACTERS] for text in texts[begin : begin + _BATCH]]
            yield from self._tokenizer.encode_batch_fast(batch)


def learned(texts: Sequence[str], kind: str, most: int) -> Tokens:
    """A tokenizer learned from training texts: whole words in lower case, or pieces of words.

    Args:
        most: different tokens, at most.

    Raises:
        SpecError: the library is not installed.
        TaskError: no two different tokens are in the texts.
    """
    library = _library()
    special = [_UNKNOWN]
    if kind == WORDS:
        made: Any = library.Tokenizer(library.models.WordLevel(unk_token=_UNKNOWN))
        made.normalizer = library.normalizers.Sequence([library.normalizers.NFKC(), library.normalizers.Lowercase()])
        made.pre_tokenizer = library.pre_tokenizers.Whitespace()
        trainer: Any = library.trainers.WordLevelTrainer(
            vocab_size=most, min_frequency=_LEAST, special_tokens=special, show_progress=False
        )
    elif kind == BPE:  # over bytes, so that nothing is unknown
        made = library.Tokenizer(library.models.BPE())
        made.normalizer = library.normalizers.NFKC()
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = library.trainers.BpeTrainer(
            vocab_size=most,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        made = library.Tokenizer(library.models.Unigram())
        made.normalizer = library.normalizers.NFKC()
        made.pre_tokenizer = library.pre_tokenizers.Metaspace()
        trainer = library.trainers.UnigramTrainer(
            vocab_size=most, unk_token=_UNKNOWN, special_tokens=special, show_progress=False
        )
    try:
        made.train_from_iterator(texts, trainer)
    except Exception as error:  # of texts without a letter, say
        raise TaskError(f"no tokens can be learned from the training texts ({' '.join(str(error).split())})") from None
    tokens = Tokens(made.to_str())
    if len(np.unique(tokens.codes(texts, 64)[0])) < 3:  # none, unknown, and one that says something
        raise TaskError(
            "the training texts hold no two different tokens that repeat; is it the column of texts (task.text)?"
        )
    return tokens


def from_file(path: Path) -> Tokens:
    """A tokenizer from Hugging Face's `tokenizer.json`.

    Raises:
        SpecError: the library is not installed.
        TaskError: it cannot be read.
    """
    try:
        return Tokens(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read ({error})") from None
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from None


def _library() -> Any:
    # Threads of it would stand beside those of the lanes, and it warns where a process forks after them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError:
        raise SpecError("task.kind", f"'text' needs: {install_extra('text')}") from None
    return tokenizers
