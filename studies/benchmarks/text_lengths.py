"""What it is worth to read the texts of a batch in the order of their lengths, a few at a time.

    python studies/benchmarks/text_lengths.py --data FOLDER --body FOLDER [--rounds 3] [--out reports/text/lengths]

FOLDER holds sst2_train.tsv, sst2_dev.tsv and sst2_test.tsv. Steps are forward and backward, without the optimizer, on
one thread, in seconds of the processor; ways take turns on the same batches of 10,000 texts (as `text_whole.py` has
them) for MiniLM, and of all phrases for the AWD-LSTM. "All at once" is a batch cut at its longest text.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measured import keep, listed, machine, median_and_span, versions
from text import cpu_s
from text_whole import write_texts
from torch import Tensor

import lab
from lab.tasks.text import awd_lstm, pretrained
from lab.tasks.text.by_length import by_length

_STEPS = 8


def step_s(task: Any, net: torch.nn.Module, rows: int, first: int, bf16: bool) -> float:
    """Seconds of a step, over a few batches."""
    x, y = task.data("train")
    before = cpu_s()
    for i in range(first, first + _STEPS):
        batch = slice(i * rows, (i + 1) * rows)
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
            loss = torch.nn.functional.cross_entropy(net(task.model_input(x[batch])), y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
    return (cpu_s() - before) / _STEPS


def at_once(codes: Tensor, make: Callable[[Tensor], Tensor], texts: int = 0) -> Tensor:
    """In place of `by_length`."""
    return by_length(codes, make, len(codes))


def measure(folder: Path, data: Path, body: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each net and way: seconds of a step in each round."""

    def task(where: Path, **more: Any) -> Any:
        paths: dict[str, Any] = {
            f"{name}_path": str(where / f"sst2_{file}.tsv") for name, file in (("valid", "dev"), ("test", "test"))
        }
        return lab.Text(str(where / "sst2_train.tsv"), text="sentence", **paths, **more)

    small = task(data, model="awd_lstm", width=128, layers=1, hidden=50)
    large = task(folder, model="hf:", weights=str(body))
    rows: list[dict[str, Any]] = []
    for name, one, module, count, bf16 in (
        ("MiniLM, 32 texts", large, pretrained, 32, False),
        ("MiniLM, 32 texts, bfloat16", large, pretrained, 32, True),
        ("AWD-LSTM, 256 phrases", small, awd_lstm, 256, False),
    ):
        net = one.model({"dropout": 0.1}).train()
        seconds: dict[str, list[float]] = {"all at once": [], "by length": []}
        for number in range(rounds + 1):
            for way, of in seconds.items():
                with mock.patch.object(module, "by_length", at_once if way == "all at once" else by_length):
                    of.append(step_s(one, net, count, number * _STEPS, bf16))
        rows.append({"net": name, **{way: of[1:] for way, of in seconds.items()}})
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    """The report."""
    lines = []
    for row in rows:
        once, parted = row["all at once"], row["by length"]
        ratios = [a / b for a, b in zip(once, parted, strict=True)]
        cells = f"{statistics.median(once):.3f} | {statistics.median(parted):.3f} | {median_and_span(ratios)}"
        lines.append(f"| {row['net']} | {cells} |")
    body = "\n".join(lines)
    return f"""# Texts of a batch by their lengths

Made by `studies/benchmarks/text_lengths.py`: CPU seconds of a step (forward and backward, one thread), medians of
{len(rows[0]["by length"])} rounds of {_STEPS} steps; both ways in turn on the same batches. Spans are of the rounds.
{listed(versions("lab", "torch", "tokenizers", "transformers"))}; {machine()}.

| net | all at once | by length, a few at a time | times faster |
|---|---|---|---|
{body}
"""


def main() -> None:
    """Every net, both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_texts(arguments.data, Path(folder), 10_000)
        rows = measure(Path(folder), arguments.data, arguments.body, arguments.rounds)
    keep(arguments.out, {"rows": rows}, page(rows))


if __name__ == "__main__":
    main()
