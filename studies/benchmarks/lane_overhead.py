"""What a lane does between the last optimizer step of an epoch and the first of the next, as a share of the epoch.

The explore stage of digits in one process, with its journal on disk, all of a lane's slots in use: training steps,
validation, and the rest (reports, decisions, refills with the search's proposals, checkpoints).

    python studies/benchmarks/lane_overhead.py [--widths 8 32] [--rounds 3] [--output DIR]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from measured import keep, listed, machine, versions

from lab.lanes.lane import Lane
from lab.record.spec_file import read_spec
from lab.study.study import Study
from lab.training.trainer import ModelTrainer

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "steps": (ModelTrainer, "_train"),
    "validation": (ModelTrainer, "_evaluate"),
    "refills": (Lane, "_fill"),
    "whole": (Lane, "tick"),
}


def measure(width: int, seed: int) -> dict[str, Any]:
    """Seconds of each part, summed over the explore stage."""
    spent = dict.fromkeys(PARTS, 0.0)
    ticks = 0

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*arguments: Any) -> Any:
            nonlocal ticks
            begin = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                spent[part] += time.perf_counter() - begin
                ticks += part == "whole"

        return timing

    overrides = {"seed": seed, "search.trials": 4 * width, "execution.path": "stacked"}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        study = Study.from_spec(read_spec(ROOT / "studies/digits.yaml", overrides), Path(folder) / "run")
        study.run(engine="local", lanes=1, width=width, until="bounds")
        for part, (owner, name) in PARTS.items():
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        study.run(engine="local", lanes=1, width=width, until="explore")
    shares = {part: seconds / spent["whole"] for part, seconds in spent.items() if part != "whole"}
    reports = 1 - sum(shares.values())
    return {"width": width, "epochs": ticks, "epoch_ms": 1000 * spent["whole"] / ticks, **shares, "reports": reports}


def page(content: dict[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    runs = content["runs"]
    text = f"""# What a lane does between epochs

The explore stage of digits in one process, journal on disk, as a share of the time of an epoch of all slots; median
(least to largest) of {content["rounds"]} studies. {content["machine"]};
{listed(content["versions"])}.
`python studies/benchmarks/lane_overhead.py --output reports/lane_overhead`.

| width | ms an epoch | steps | validation | reports and decisions | refills with the search's proposals |
|---|---|---|---|---|---|
"""
    for width in dict.fromkeys(run["width"] for run in runs):
        mine = [run for run in runs if run["width"] == width]
        shares = [[run[part] for run in mine] for part in ("steps", "validation", "reports", "refills")]
        cells = [f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})" for values in shares]
        text += f"| {width} | {statistics.median(run['epoch_ms'] for run in mine):.1f} | {' | '.join(cells)} |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Write result.json and README.md here.")
    arguments = parser.parse_args()
    content = {
        "machine": machine(),
        "versions": versions("lab", "torch", "optuna", "scikit-learn"),
        "rounds": arguments.rounds,
        "runs": [measure(width, seed) for seed in range(arguments.rounds) for width in arguments.widths],
    }
    keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
