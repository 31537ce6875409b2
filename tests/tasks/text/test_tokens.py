"""Tokens of texts: learned in three ways, kept as text, cut where asked; what cannot be is said in a line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import SpecError, TaskError
from lab.tasks.text.options import TOKENS
from lab.tasks.text.tokens import Tokens, from_file, learned

_TEXTS = ["A good film, and good!", "a bad film", "A FILM of films", "naïve Ünïcode", ""]


def test_words_are_those_that_repeat_in_lower_case():
    tokens = learned(_TEXTS, "words", 100)
    assert tokens.size == 2 + 3  # none, unknown; a, film, good
    codes, cut = tokens.codes(["FILM film", "never seen", "good"], 2)
    assert codes.shape == (3, 2)
    assert codes.dtype == np.int32
    assert codes[0, 0] == codes[0, 1] != tokens.unknown
    assert codes[1].tolist() == [tokens.unknown] * 2
    assert codes[2, 1] == 0
    assert not cut.any()


def test_the_vocabulary_is_no_larger_than_asked():
    texts = [f"word{i} word{i}" for i in range(50)]
    assert learned(texts, "words", 10).size == 1 + 10


@pytest.mark.parametrize("kind", TOKENS)
def test_what_is_kept_makes_the_same_codes(kind: str):
    tokens = learned(_TEXTS * 4, kind, 300)
    again = Tokens(tokens.dump())
    for texts in (_TEXTS, ["something else", "漢字 and 😀", "\x00\t\n"]):
        assert np.array_equal(tokens.codes(texts, 9)[0], again.codes(texts, 9)[0])


@pytest.mark.parametrize("kind", ["words", "bpe"])  # a unigram's numbers are summed up in any order
def test_the_same_is_learned_again(kind: str):
    assert learned(_TEXTS * 4, kind, 300).dump() == learned(_TEXTS * 4, kind, 300).dump()


def test_bytes_leave_nothing_unknown():
    tokens = learned(_TEXTS * 4, "bpe", 300)
    assert tokens.unknown is None
    assert (tokens.codes(["漢字"], 4)[0] > 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.integers(1, 12))
def test_codes_are_a_text_s_first_tokens(texts: list[str], length: int):
    tokens = learned(_TEXTS * 4, "words", 300)
    codes, cut = tokens.codes(texts, length)
    whole, _ = tokens.codes(texts, 200)
    assert np.array_equal(codes, whole[:, :length])
    assert np.array_equal(cut, (whole > 0).sum(axis=1) > length)
    assert np.array_equal(tokens.lengths(texts), (whole > 0).sum(axis=1))
    filled = codes > 0
    assert (filled[:, :-1] >= filled[:, 1:]).all()  # nothing behind the first gap
    assert (codes < tokens.size).all()


def test_a_long_text_is_cut():
    codes, cut = learned(_TEXTS, "words", 100).codes(["film " * 100_000], 7)
    assert (codes > 0).all()
    assert cut.tolist() == [True]


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("texts", [[""], ["", ""]])
def test_nothing_is_learned_of_nothing(kind: str, texts: list[str]):
    with pytest.raises(TaskError, match=r"no two different tokens that repeat|no tokens can be learned"):
        learned(texts, kind, 300)


def test_words_that_never_repeat_are_refused():
    with pytest.raises(TaskError, match=r"no two different tokens that repeat; is it the column of texts"):
        learned(["a b c", "d e f"], "words", 100)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(TaskError, match=r"tokenizer\.json: cannot be read"):
        from_file(path)
    path.write_text("{}")
    with pytest.raises(TaskError, match=r"tokenizer\.json: it is no tokenizer \("):
        from_file(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(TaskError, match=r"tokenizer\.json: cannot be read"):
        from_file(path)
    path.write_text(learned(_TEXTS, "words", 100).dump())
    assert from_file(path).codes(["film"], 1)[0].item() > 0


def test_its_library_may_be_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecError, match=r"task\.kind: 'text' needs: pip install 'onecycle-lab\[text\]'$"):
        learned(_TEXTS, "words", 100)
