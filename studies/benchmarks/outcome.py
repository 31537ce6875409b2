"""Is what a study hands over worth its compute? Whole studies on many splits, beside plainer ways to spend as much.

    python studies/benchmarks/outcome.py [--data FOLDER] [--tasks digits_mlp,wine,...] [--splits 5]
        [--budget-scale 1.0] [--jobs 2] --out reports/outcome
    python studies/benchmarks/outcome.py --csv FILE --target COLUMN [--split time:COLUMN] [--metric NAME] --out FOLDER
    python studies/benchmarks/outcome.py --images FOLDER [--set task.size=32] --out FOLDER
    python studies/benchmarks/outcome.py --budgets 10,25,50,100 [--tasks digits_mlp,breast_cancer,diabetes]
        --out reports/outcome

A cell is one split of one task: a study through lab's public face, then, on the same split, no hero (textbook values on
as many seeds as the study's compute pays for) and the tutorial (Optuna's TPE over plain PyTorch). With `--budgets` a
cell is a study within so many percent of the whole one's epochs (`budget` of its spec), beside Optuna's TPE with and
without Hyperband at as many epochs as it trained. Cells are processes
of one thread. One that lies in `--out` is not run again, so a benchmark that was stopped goes on.

FOLDER of `--data` holds tabular/adult_train.csv, tabular/bike_sharing_hour.csv, tabular/yeast_multilabel.csv and
cifar10/train.parquet. Without it the tasks that need one of them are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome_summary import write_summary
from outcome_tasks import NEED_DATA, WORKLOADS, Source, Workload, own_images, own_table

from lab.errors import LabError, SpecError, nearest
from lab.record.folder import write_json
from lab.record.spec_file import parse_override

ROOT = Path(__file__).resolve().parents[2]
CELLS, BUDGET_CELLS = "cells", "budget_cells"
BUDGET_TASKS = ("digits_mlp", "breast_cancer", "diabetes")
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}


@dataclass(frozen=True)
class Cell:
    """One split of one task, and with `--budgets` the percent of the whole study's epochs."""

    task: str
    split: int
    percent: int | None = None

    @property
    def name(self) -> str:
        return "-".join(str(part) for part in (self.task, self.percent, self.split) if part is not None)

    def path(self, out: Path) -> Path:
        return out / (CELLS if self.percent is None else BUDGET_CELLS) / f"{self.name}.json"


def workloads(arguments: argparse.Namespace) -> dict[str, Workload]:
    """Those asked for, by name.

    Raises:
        SpecError: a task that there is not, or a file of one's own that does not exist.
    """
    own: Path | None = arguments.csv or arguments.images
    if own is not None:
        if not own.exists():
            raise SpecError("--csv" if arguments.csv else "--images", f"{own} does not exist")
        if arguments.csv and not arguments.target:
            raise SpecError("--target", "is needed with --csv")
        if arguments.csv:
            return {own.stem: own_table(own, arguments.target, arguments.split, arguments.metric)}
        return {own.stem: own_images(own, arguments.metric)}
    default = BUDGET_TASKS if arguments.budgets else tuple(WORKLOADS)
    names = arguments.tasks or [n for n in default if arguments.data is not None or n not in NEED_DATA]
    for name in names:
        if name not in WORKLOADS:
            raise SpecError(
                "--tasks", f"{name!r} is unknown{nearest(name, WORKLOADS)}; choices: {', '.join(WORKLOADS)}"
            )
    return {name: WORKLOADS[name] for name in names}


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a cell depends on beside its task and split."""
    own = {name: getattr(arguments, name) for name in ("target", "split", "metric") if getattr(arguments, name)}
    return {"budget_scale": arguments.budget_scale, "set": sorted(arguments.set), **own}


def run_cell(cell: Cell, workload: Workload, arguments: argparse.Namespace) -> None:
    """Run a cell in this process and keep what it says."""
    import torch
    from outcome_cells import by_budget, outcome  # here: whoever only starts cells needs no torch

    torch.set_num_threads(1)
    begin = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        sets = dict(parse_override(text) for text in arguments.set)
        source = Source(cell.split, work, arguments.data)
        spec = workload.study(cell.task, source, arguments.budget_scale, sets)
        folder = arguments.keep / cell.name if arguments.keep else work / "study"
        content = outcome(spec, folder) if cell.percent is None else by_budget(spec, cell.percent, folder)
    content["seconds"] = round(time.perf_counter() - begin[0], 1)
    content["cpu_s"]["cell"] = round(time.process_time() - begin[1], 1)
    path = cell.path(arguments.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"task": cell.task, "split": cell.split, "asked": asked(arguments), **content})


def start_cell(cell: Cell) -> str | None:
    """Run a cell in a process of its own; None, or why it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--cell", cell.name]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def to_run(cells: list[Cell], arguments: argparse.Namespace) -> list[Cell]:
    """Those that are not there yet.

    Raises:
        SpecError: one that is there was asked for otherwise.
    """
    missing = []
    for cell in cells:
        path = cell.path(arguments.out)
        if not path.exists():
            missing.append(cell)
        elif json.loads(path.read_text())["asked"] != json.loads(json.dumps(asked(arguments))):
            raise SpecError("--out", f"{path} was run with other settings; choose another folder")
    return missing


def run_all(cells: list[Cell], arguments: argparse.Namespace) -> Mapping[str, str]:
    """Run cells side by side; why those that failed did, by name."""
    failed: dict[str, str] = {}

    def run(cell: Cell) -> None:
        begin = time.perf_counter()
        reason = start_cell(cell)
        if reason is not None:
            failed[cell.name] = reason
        print(f"{cell.name}: {time.perf_counter() - begin:.0f} s{'' if reason is None else f', {reason}'}", flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(run, cells))
    return failed


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="cells, README.md, CSVs and figures come here")
    parser.add_argument("--tasks", type=_names, help=f"of {','.join(WORKLOADS)}")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--budget-scale", type=float, default=1.0, help="multiplies trials, epochs and final epochs")
    parser.add_argument("--jobs", type=int, default=2, help="cells that run side by side")
    parser.add_argument("--budgets", type=_numbers, help="percents of the whole study: scores against compute instead")
    parser.add_argument("--keep", type=Path, help="keep the study folders here")
    parser.add_argument("--set", action="append", default=[], help="section.key=value of every study's spec")
    own = parser.add_mutually_exclusive_group()
    own.add_argument("--csv", type=Path, help="a table of your own")
    own.add_argument("--images", type=Path, help="images of your own: a folder per class, or what the task reads")
    parser.add_argument("--target", nargs="+", help="the column of --csv to predict, or several")
    parser.add_argument("--split", help="KIND or KIND:COLUMN of --csv, e.g. time:date, grouped:customer")
    parser.add_argument("--metric", help="the task's option of this name, for data of your own")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> None:
    """Run the cells that are not there yet, and sum up all that are."""
    arguments = parse()
    try:
        chosen = workloads(arguments)
        budgets: list[int | None] = arguments.budgets or [None]
        # Split by split, so that a benchmark that is stopped has something to say of every task.
        cells = [Cell(t, split, percent) for split in range(arguments.splits) for percent in budgets for t in chosen]
        if arguments.cell:
            cell = next(cell for cell in cells if cell.name == arguments.cell)
            run_cell(cell, chosen[cell.task], arguments)
            return
        failed = run_all(to_run(cells, arguments), arguments)
    except LabError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    write_summary(arguments.out)
    if failed:
        print("".join(f"failed: {name}: {reason}\n" for name, reason in failed.items()), end="", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
