"""What reproducible matrix products cost: `fusion.py`'s nets with and without MKL's setting, two processes in turn.

A process that has computed before lab is imported cannot be set any more: so the one without the setting is made. A
figure is the median over rounds of (milliseconds per trial and step without) / (with), both from one round.

    python studies/benchmarks/arithmetic.py [--nets mlp-3.6k cnn-16k] [--rounds 15] [--out reports/arithmetic]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from measured import keep, machine

VARIANTS = {
    "mlp-3.6k": [("plain", 1), ("stacked", 1), ("stacked", 16), ("stacked", 64)],
    "cnn-16k": [("plain", 1), ("stacked", 1), ("stacked", 4), ("sequential", 1)],
}


def worker(connection: Connection, net: str, reproducible: bool) -> None:
    """Train an epoch of a variant whenever its index comes; the answer is milliseconds per trial and step."""
    import torch

    torch.set_num_threads(1)
    os.environ.pop("MKL_CBWR", None)
    if not reproducible:
        torch.ones(9, 9) @ torch.ones(9, 9)
        warnings.simplefilter("ignore", RuntimeWarning)  # lab says that it comes too late: that is meant
    from fusion import lane, plain
    from fusion_nets import NETS

    from lab.record.provenance import processor
    from lab.training.arithmetic import branch_in_force
    from lab.training.freed_memory import keep_freed_memory

    keep_freed_memory()
    task = NETS[net]()
    epochs = [
        plain(task, "cpu", True, False) if path == "plain" else lane(task, "cpu", path, width)
        for path, width in VARIANTS[net]
    ]
    connection.send({"products": branch_in_force(), "processor": processor(), "torch": torch.__version__})
    while (index := connection.recv()) is not None:
        connection.send(epochs[index]() * 1000)


def measure(net: str, rounds: int) -> dict[str, Any]:
    """By variant the milliseconds of both processes and their ratio, round by round in turn."""
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    facts = []
    for reproducible in (False, True):
        mine, theirs = context.Pipe()
        context.Process(target=worker, args=(theirs, net, reproducible), daemon=True).start()
        ends.append(mine)
        facts.append(mine.recv())
    rows: dict[str, Any] = {}
    for index, (path, width) in enumerate(VARIANTS[net]):
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(rounds + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            for side in order:
                ends[side].send(index)
                ms = ends[side].recv()
                if turn:  # the first warms up
                    times[side].append(ms)
        ratios = [off / on for off, on in zip(*times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[f"{path} x {width}"] = {
            "without_ms": statistics.median(times[0]),
            "with_ms": statistics.median(times[1]),
            "ratio": {"median": middle, "low": low, "high": high},
        }
    for end in ends:
        end.send(None)
    return {"net": net, "rounds": rounds, "without": facts[0], "with": facts[1], "variants": rows}


def page(content: dict[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    first = content["nets"][0]["with"]
    lines = [
        "# What reproducible matrix products cost",
        "",
        "Milliseconds per trial and step without and with MKL's setting, and the ratio of both from one round; above 1",
        f"the setting is faster. {first['processor']}, {content['machine']}, one thread, torch {first['torch']};",
        "`python studies/benchmarks/arithmetic.py --out reports/arithmetic`.",
        "",
        "| net | variant | without | with | without / with (quartiles) |",
        "|---|---|---|---|---|",
    ]
    for one in content["nets"]:
        for name, row in one["variants"].items():
            ratio = row["ratio"]
            lines.append(
                f"| {one['net']} (n = {one['rounds']}) | {name} | {row['without_ms']:.4f} | {row['with_ms']:.4f} |"
                f" {ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f}) |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    nets = [measure(net, options.rounds) for net in options.nets]
    content = {"machine": machine(), "nets": nets}
    keep(options.out, content, page(content))


if __name__ == "__main__":
    main()
