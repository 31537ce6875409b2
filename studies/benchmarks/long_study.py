"""What a study of many trials costs its ledger, who resumes it, and who looks at it.

    python studies/benchmarks/long_study.py --trials 10000 --json reports/reliability/long_study.json

One lane that trains nothing asks the real ledger for trials and reports on them, with an fsync per call as always.
Then the folder is opened as `lab study resume` does, and read as `lab study status` does, as a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.spec_file import dump_spec
from lab.spec.exchange import Assignment, Report
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.study import parse_spec
from lab.spec.trial import Outcome

ROOT = Path(__file__).resolve().parents[2]
SPACE = {name: {"low": low, "high": 1.0, "log": True} for name, low in (("max_lr", 1e-4), ("weight_decay", 1e-4))}


def job_of(folder: Path, arguments: argparse.Namespace) -> Job:
    return Job(
        stage="explore",
        folder=folder,
        task=TaskRef("digits"),
        space=Space(max_lr=Float(1e-4, 1.0, log=True), weight_decay=Float(1e-4, 1.0, log=True)),
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64, "stacked"),
        direction="maximize",
        metric="accuracy",
        seed=0,
        width=arguments.width,
        lanes=1,
        plan=SearchPlan({"kind": "random"}, {}, arguments.trials, arguments.epochs),
    )


def fill(ledger: Ledger, width: int, most: int, tick: int) -> dict[str, Any]:
    """Have up to `most` trials asked for, reported on and ended, `width` at a time."""
    running: dict[int, tuple[Assignment, int]] = {}
    calls = {"next": 0, "report": 0}
    seconds = {"next": 0.0, "report": 0.0}
    handed = reports = 0
    while True:
        free = tuple(slot for slot in range(width) if slot not in running)[: most - handed]
        if free:
            began = time.perf_counter()
            work = ledger.next(0, tick, free)
            seconds["next"] += time.perf_counter() - began
            calls["next"] += 1
            handed += len(work.assignments)
            running |= {a.slot: (a, 0) for a in work.assignments}
        if not running:
            break
        said = []
        for slot, (assignment, epochs) in running.items():
            running[slot] = (assignment, epochs + 1)
            ended = Outcome.COMPLETED if epochs + 1 == assignment.trial.epochs else None
            said.append(Report(assignment.number, epochs + 1, {"accuracy": 1 - 1 / (epochs + 2)}, ended))
        began = time.perf_counter()
        decisions = ledger.report(0, tick, tuple(said))
        seconds["report"] += time.perf_counter() - began
        calls["report"] += 1
        reports += len(said)
        over = {decision.number for decision in decisions if not decision.keep}
        running = {slot: pair for slot, pair in running.items() if pair[0].number not in over}
        tick += 1
    return {
        "reports_per_s": round(reports / sum(seconds.values())),
        "calls_per_s": round(sum(calls.values()) / sum(seconds.values())),
        "next_ms": round(1000 * seconds["next"] / calls["next"], 2),
        "report_ms": round(1000 * seconds["report"] / calls["report"], 2),
    }


def fsync_ms(folder: Path) -> float:
    """What the disk takes for a small write, so that the rest can be told from it."""
    with open(folder / "probe", "ab") as file:
        began = time.perf_counter()
        for _ in range(100):
            file.write(b"." * 500)
            file.flush()
            os.fsync(file.fileno())
        return round(10 * (time.perf_counter() - began), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lab-long-") as scratch:
        folder = Path(scratch) / "study"
        job = job_of(folder, arguments)
        search = {"sampler": {"kind": "random"}, "trials": arguments.trials, "epochs": arguments.epochs}
        spec = parse_spec({"name": "long", "task": {"kind": "digits"}, "space": SPACE, "search": search})
        folder.mkdir()
        Record(folder).spec_path.write_text(dump_spec(spec))
        measured: dict[str, Any] = {"fsync_ms": fsync_ms(Path(scratch))}
        last = min(500, arguments.trials // 2)
        ledger = Ledger(job)
        measured["all_but_last"] = fill(ledger, job.width, arguments.trials - last, 0)
        ledger.release()
        began = time.perf_counter()
        ledger = Ledger(job)
        tick = ledger.attach(0).tick
        measured["resume_s"] = round(time.perf_counter() - began, 2)
        measured["last"] = {"trials": last, **fill(ledger, job.width, last, tick)}
        ledger.release()
        measured["journal_mb"] = round(Record(folder).journal_path.stat().st_size / 1e6, 1)
        began = time.perf_counter()
        command = [sys.executable, "-m", "lab", "study", "status", str(folder)]
        said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        measured["status_s"] = round(time.perf_counter() - began, 2)
        if f"{arguments.trials} completed" not in said:
            raise RuntimeError(f"trials are missing:\n{said}")
    settings = {"trials": arguments.trials, "epochs": arguments.epochs, "width": arguments.width}
    text = json.dumps({**settings, **measured, "cores": os.cpu_count()}, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
