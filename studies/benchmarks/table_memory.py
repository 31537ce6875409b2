"""Peak memory and CPU seconds of reading, describing and encoding a large table.

    python studies/benchmarks/table_memory.py [--rows 500000,1000000] [--columns 30] --out reports/memory

Each size is a process of its own, beside one that only imports the task; the file is made at random: numbers with gaps,
categories of few and of many levels, dates, and a number to predict.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measured import keep, listed, machine, versions


def write(path: Path, rows: int, columns: int) -> None:
    """A CSV of two thirds numbers, a quarter categories, and dates, with a target that follows from the first two."""
    import pandas as pd

    random = np.random.default_rng(0)
    frame: dict[str, Any] = {}
    for i in range(columns - 1):
        if i % 12 == 11:
            frame[f"d{i}"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 40_000, rows), unit="h")
        elif i % 3 == 2:
            frame[f"c{i}"] = random.integers(0, 8 if i % 2 else 3000, rows).astype(str)
            frame[f"c{i}"] = np.char.add("level", frame[f"c{i}"])
        else:
            values = random.normal(size=rows).round(4)
            values[random.random(rows) < 0.02] = np.nan
            frame[f"n{i}"] = values
    frame["y"] = np.nan_to_num(frame["n0"]) * 3 + random.normal(size=rows)
    pd.DataFrame(frame).to_csv(path, index=False)


def measure(path: Path) -> dict[str, float]:
    """In this process: import, then describe the table and make its splits."""
    from lab.tasks.table.task import Table

    begin = peak_mb()
    started = time.process_time()
    task = Table(str(path), target="y", target_type="number")
    task.describe()
    for split in ("train", "valid", "test"):
        task.data(split)
    return {"imports_mb": begin, "peak_mb": peak_mb(), "cpu_s": time.process_time() - started}


def peak_mb() -> float:
    """That of this program alone: `getrusage` would count what its parent had when it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Every size in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="500000,1000000")
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    results = []
    for rows in map(int, arguments.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            write(path, rows, arguments.columns)
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            file_mb = path.stat().st_size / 2**20
        results.append({"rows": rows, "file_mb": file_mb, **json.loads(done.stdout.splitlines()[-1])})
    packages = versions("lab", "torch", "pandas", "numpy")
    lines = [
        "# What a large table takes",
        "",
        f"Made by `studies/benchmarks/table_memory.py`: a CSV of {arguments.columns} columns is read, described and "
        f"encoded in a process of its own, once. {listed(packages)}; {machine()}.",
        "",
        "| rows | file, MB | peak, MB | without what Python and torch take | times the file | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        own = r["peak_mb"] - r["imports_mb"]
        ratio = own / r["file_mb"]
        lines.append(
            f"| {r['rows']:,} | {r['file_mb']:.0f} | {r['peak_mb']:.0f} | {own:.0f} | {ratio:.1f} | {r['cpu_s']:.0f} |"
        )
    keep(arguments.out, {"results": results, "versions": packages, "machine": machine()}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
