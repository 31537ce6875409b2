"""Texts of anything, in tables written in any way and read with any options, from fixed seeds."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.tasks.text.task import Text
from tests.fuzz.outcome import faults, looked_at

BLOCKS, EACH = 4, 24

_WORDS = [
    *(
        "film",
        "film",
        "good",
        "Good",
        "good.",
        "naïve",
        "漢字",
        "😀",
        "e\u0301",
        "\u202e",
        "\ufeff",
        "\0",
        "a\0b",
        "None",
    ),
    *(
        "NA",
        "?",
        "-999",
        "3.5",
        "'",
        '"',
        ",",
        ";",
        "\t",
        "\n",
        "\r\n",
        " ",
        "=1+1",
        "<b>",
        "x" * 3000,
        "[UNK]",
        "[PAD]",
    ),
]
_TEXTS: dict[str, Callable[[random.Random], object]] = {
    "words": lambda draw: " ".join(draw.choices(_WORDS, k=draw.randint(0, 12))),
    "plain": lambda draw: " ".join(draw.choices(["good", "bad", "film", "story"], k=draw.randint(1, 6))),
    "one": lambda draw: draw.choice(_WORDS),
    "same": lambda draw: "film film",
    "empty": lambda draw: draw.choice(["", " ", None]),
    "whole": lambda draw: draw.randint(0, 9),
    "real": lambda draw: draw.choice([0.5, float("nan"), 1e300]),
    "bytes": lambda draw: b"film \xff",
    "list": lambda draw: ["film"] * draw.randint(0, 3),
    "long": lambda draw: "film " * draw.choice([1, 30_000]),
}
_LABELS: dict[str, Callable[[random.Random], object]] = {
    "class": lambda draw: draw.choice(["good", "bad"]),
    "spaces": lambda draw: draw.choice([" very good ", "bad one", "Bad One"]),
    "truth": lambda draw: draw.random() < 0.5,
    "label": lambda draw: draw.randint(0, 1),
    "stars": lambda draw: draw.randint(1, 5),
    "real": lambda draw: draw.gauss(0, 1),
    "gaps": lambda draw: draw.choice(["good", "bad", None]),
    "constant": lambda draw: "same",
    "rare": lambda draw: "rare" if draw.random() < 0.03 else "common",
}
_OPTIONS: list[tuple[str, list[Any]]] = [
    ("model", ["cnn", "transformer", "awd_lstm", "lstm"]),
    ("tokens", ["bpe", "unigram", "letters"]),
    ("vocabulary", [2, 50, 1]),
    ("max_tokens", [1, 8192, 0]),
    ("width", [4, 6]),
    ("word_dropout", [0.5, 1]),
    (
        "split",
        ["random", {"kind": "random", "folds": 3}, {"kind": "grouped", "by": "group"}, {"kind": "time", "by": "n"}],
    ),
    ("metric", ["auc", "log_loss", "rmse"]),
    ("target", ["other", ["label", "other"], "nowhere", "text"]),
    ("text", ["other", "nowhere"]),
    ("missing", [["good"], []]),
    ("balance", [0.5]),
]


def _case(path: Path, draw: random.Random) -> tuple[object, Callable[[], object]]:
    rows = draw.choice([*[60] * 6, 1, 5])
    text, label = draw.choice([*["plain", "words"] * 3, *_TEXTS]), draw.choice([*["class"] * 3, *_LABELS])
    odd = draw.choice([0.0, 0.05])
    frame = pd.DataFrame(
        {
            "text": [_TEXTS[text if draw.random() >= odd else draw.choice([*_TEXTS])](draw) for _ in range(rows)],
            "label": [_LABELS[label](draw) for _ in range(rows)],
            "other": [draw.randint(0, 1) for _ in range(rows)],
            "group": [n % 7 for n in range(rows)],
            "n": range(rows),
        }
    )
    suffix = draw.choice([".csv", ".tsv", ".parquet"])
    try:
        content = _written(frame, suffix)
    except Exception:  # not every column has a type that a parquet can hold
        suffix, content = ".csv", _written(frame, ".csv")
    file = path.with_suffix(suffix)
    file.write_bytes(content)
    options = {name: draw.choice(values) for name, values in _OPTIONS if draw.random() < 0.08}

    def use() -> None:
        task = Text(str(file), **options)
        looked_at(task)
        task.model({})(task.model_input(task.data("train")[0][:2]))
        task.read(file)

    return (text, label, rows, suffix, options), use


def _written(frame: pd.DataFrame, suffix: str) -> bytes:
    stream = io.BytesIO()
    if suffix == ".parquet":
        frame.to_parquet(stream)
        return stream.getvalue()
    return frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_texts_are_read_or_refused_in_a_line(block: int, tmp_path: Path):
    cases = (_case(tmp_path / f"t{i}", random.Random(1000 * block + i)) for i in range(EACH))
    assert faults(cases) == []
