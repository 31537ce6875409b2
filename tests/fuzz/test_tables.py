"""Tables with anything in their cells, written in any way and read with any options, from fixed seeds."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.tasks.table.task import Table
from tests.fuzz.outcome import faults, looked_at

BLOCKS, EACH = 12, 24

CELLS: dict[str, Callable[[random.Random], object]] = {
    "whole": lambda draw: draw.randint(-5, 90),
    "real": lambda draw: round(draw.gauss(0, 3), 3),
    "huge": lambda draw: draw.choice(["1e308", "-1e308", "1e400", "inf", "-inf", "1" * 40, "1e-320", draw.random()]),
    "class": lambda draw: draw.choice("abc"),
    "truth": lambda draw: draw.choice(["True", "TRUE", "false", "1", "0"]),
    "label": lambda draw: int(draw.random() < 0.3),
    "code": lambda draw: f"{draw.randint(0, 40):05d}",
    "day": lambda draw: f"2024-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
    "written day": lambda draw: draw.choice(["15 Mar 2024", "3 Apr 2024", "31.12.2023", "02/03/2024", "2024-02-30"]),
    "moment": lambda draw: (
        f"2024-01-{draw.randint(1, 28):02d}T0{draw.randint(0, 9)}:00:00{draw.choice(['', 'Z', '+02:00'])}"
    ),
    "money": lambda draw: draw.choice(["$3", "1,234.5", "1.234,5", "12 %", "-€7"]),
    "gap": lambda draw: draw.choice(["", "NA", "?", "null", "nan", "-999", "n/a", " "]),
    "text": lambda draw: draw.choice(
        ["x", "naïve", "a,b", 'say "no"', "two\nlines", "=1+1", "\u202eabc", "'", "é" * 50]
    ),
    "nul": lambda draw: draw.choice(["a\0b", "\0", "b", "\x1b[31m", "\ufeff"]),
    "constant": lambda draw: "same",
    "sentinel": lambda draw: draw.choice([-200, 1.5, 2.5, draw.randint(1, 30)]),
    "long": lambda draw: "x" * draw.choice([1, 3000]),
}
COMMON = ["whole", "real", "class", "truth", "label", "code", "day", "moment", "gap", "constant"]
NAMES = [
    "y",
    "a",
    "b",
    "id",
    "",
    " ",
    "Unnamed: 0",
    "naïve",
    "a b",
    "y.1",
    "0",
    "index",
    "x" * 300,
    "path",
    "\t",
    "a,b",
    "nan",
]
OPTIONS: list[tuple[str, list[Any]]] = [
    ("target_type", ["number", "category"]),
    ("ignore", ["a", ["b"], ["nowhere"], []]),
    ("types", [{"a": "number"}, {"b": "date"}, {"a": "category"}, {"c": "number"}]),
    ("missing", [[], ["a"], ["0", "-999", ""], ["?"]]),
    ("split", ["random", "stratified", {"kind": "time", "by": "c1"}, {"kind": "grouped", "by": "c0"}]),
    ("split", [{"kind": "declared", "by": "c0"}, {"valid": 0.9, "test": 0.5}, {"kind": "random", "seed": 3}]),
    ("bins", [0, 4, "auto"]),
    ("metric", ["accuracy", "auc", "mae", "r2", "quantile:0.9", "log_loss", "nothing"]),
    ("separator", [";", "\t", "|", ",", ""]),
    ("encoding", ["latin-1", "utf-16", "cp1252", "nothing", "utf-8-sig"]),
    ("decimal", [",", "."]),
    ("allow_leaks", [True]),
]  # fmt: skip


def _content(draw: random.Random, wild: bool) -> tuple[bytes, list[str]]:
    """A file, and its columns' names; a wild one may be written in any way, and damaged."""
    rows = draw.choice([0, 1, 2, 3, 5, 30]) if wild and draw.random() < 0.4 else draw.randint(40, 50)
    names = [
        draw.choice(NAMES) if draw.random() < (0.2 if wild else 0.05) else f"c{i}" for i in range(draw.randint(1, 5))
    ]
    names = ["y", *(name for name in names if wild or name != "y")]
    kinds = [draw.choice(list(CELLS) if draw.random() < 0.3 else COMMON) for _ in names]
    if draw.random() < 0.9:
        kinds[0] = draw.choice(["class", "real", "truth", "label", "label"])
    odd = draw.choice([0.0, 0.02, 0.1]) if wild else draw.choice([0.0, 0.0, 0.02])
    table = [
        [CELLS[draw.choice(list(CELLS)) if draw.random() < odd and i else kind](draw) for i, kind in enumerate(kinds)]
        for _ in range(rows)
    ]
    if not wild:
        return _written([names, *table], ",", "utf-8", csv.QUOTE_MINIMAL, draw.choice(["\n", "\r\n"])), names
    if table and draw.random() < 0.15:
        table[draw.randrange(len(table)) :] = [[1] * draw.randint(0, 9)]
    content = _written(
        [names, *table] if draw.random() < 0.9 else table,
        draw.choice([*",,,,", ";", "\t", "|"]),
        draw.choice([*["utf-8"] * 5, "utf-8-sig", "utf-16", "latin-1", "cp1252"]),
        draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        draw.choice(["\n", "\r\n", "\r"]),
    )
    if draw.random() < 0.4 and content:
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 5)):
            damaged[draw.randrange(len(damaged))] = draw.choice([0, 10, 13, 34, 44, 255, 0xC3, draw.randrange(256)])
        content = bytes(damaged[: draw.choice([len(damaged), len(damaged), draw.randrange(len(damaged))])])
    return content, names


def _written(table: list[list[Any]], separator: str, encoding: str, quoting: Any, end: str) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator=end).writerows(table)
    return stream.getvalue().encode(encoding, errors="replace")


def _parquet(draw: random.Random) -> tuple[bytes, list[str]]:
    """A parquet with columns of any type that it can hold, some of them a table has no use for."""
    rows, names = draw.choice([0, 1, 40, 40, 40, 40]), ["y", *(f"c{i}" for i in range(draw.randint(1, 4)))]
    plain = {"y": pa.array([draw.choice("ab") for _ in range(rows)])} if draw.random() < 0.6 else {}
    columns = {name: _column(draw, rows) for name in names} | plain
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    content = bytearray(stream.getvalue())
    if draw.random() < 0.15:
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content), names


def _column(draw: random.Random, rows: int) -> pa.Array:
    whole = [draw.randint(0, 9) for _ in range(rows)]
    gaps = [None if draw.random() < 0.1 else value for value in whole]
    moments = [datetime(2024, 1, 1 + value, value, tzinfo=UTC) for value in whole]
    kinds: list[Callable[[], pa.Array]] = [
        lambda: pa.array(whole),
        lambda: pa.array(gaps),
        lambda: pa.array(gaps, pa.uint8()),
        lambda: pa.array([value / 3 for value in whole], pa.float32()),
        lambda: pa.array([float("nan") if value is None else value / 3 for value in gaps]),
        lambda: pa.array([float("inf") if value == 3 else value / 3 for value in whole]),
        lambda: pa.array([value % 2 == 0 for value in whole]),
        lambda: pa.array([None if value is None else value > 4 for value in gaps]),
        lambda: pa.array([str(value) for value in whole]),
        lambda: pa.array([str(value).encode() for value in whole]),
        lambda: pa.array([[value] * (value % 3) for value in whole]),
        lambda: pa.array([{"a": value} for value in whole]),
        lambda: pa.array([Decimal(value) / 4 for value in whole]),
        lambda: pa.array(moments),
        lambda: pa.array([None if value is None else moment for value, moment in zip(gaps, moments, strict=True)]),
        lambda: pa.array([moment.date() for moment in moments]),
        lambda: pa.array([moment.time() for moment in moments]),
        lambda: pa.array([timedelta(hours=value) for value in whole]),
        lambda: pa.array([str(value) for value in gaps]).dictionary_encode(),
        lambda: pa.array([2**63 + value for value in whole], pa.uint64()),
        lambda: pa.nulls(rows),
    ]
    return draw.choice(kinds)()


def _options(path: Path, names: list[str], wild: bool, draw: random.Random) -> dict[str, Any]:
    target: Any = "y" if draw.random() < 0.9 else draw.choice([*names, "nowhere"])
    if draw.random() < 0.1:
        target = draw.sample(names, min(len(names), draw.randint(1, 3)))
    rate = 0.1 if wild else 0.04
    more = {name: draw.choice(values) for name, values in OPTIONS if draw.random() < rate}
    return {"path": str(path), "target": target, **more}


def _use(options: dict[str, Any], later: Path) -> None:
    task = Table(**options)
    looked_at(task)
    assert task.data("test")[0].isfinite().all()
    task.model({})
    task.read(later)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_table_is_taken_or_refused_in_one_line(block: int, tmp_path: Path):
    def cases() -> Any:
        later = tmp_path / "later.csv"
        later.write_text("y,c0\na,1\n")
        for seed in range(block * EACH, (block + 1) * EACH):
            draw = random.Random(seed)
            wild = seed % 4 == 0
            suffix = draw.choice([*["csv"] * 6, "tsv", "parquet"]) if wild else "csv"
            path = tmp_path / f"{seed}.{suffix}"
            real = suffix == "parquet" or draw.random() < 0.2
            if real and draw.random() < 0.9:
                path = path.with_suffix(".parquet")
            content, names = _parquet(draw) if real else _content(draw, wild)
            path.write_bytes(content)
            options = _options(path, names, wild, draw)
            yield f"seed {seed} {options}", lambda options=options, later=later: _use(options, later)
            later = path

    faulty = faults(cases())
    assert not faulty, "\n".join(faulty)
