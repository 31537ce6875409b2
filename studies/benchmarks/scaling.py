"""How many lanes one ledger serves: simulated lanes whose trials sleep, against a real coordinator, ledger and journal.

    python studies/benchmarks/scaling.py --lanes 200,400,1000,2000 --json reports/reliability/scaling.json

Each simulated lane is a thread that does what a lane does: asks for work, sleeps an epoch, reports its slots. As many
calls as the Ray actor takes at once reach the coordinator; what Ray adds to a call is measured apart (about 1 ms).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from lab.lanes.ray.coordinator import CALLS_AT_ONCE, Coordinator, Method
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.spec.exchange import Assignment, Report
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Outcome


class Clerk:
    """Takes as many calls at once as the actor does, and times them from the lanes' side."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._calls = threading.Semaphore(CALLS_AT_ONCE)
        self.waits: dict[str, list[float]] = defaultdict(list)

    def call(self, lane: int, method: Method, *arguments: Any) -> Any:
        asked = time.perf_counter()
        with self._calls:
            answer = self._coordinator.call(1, lane, str(lane), method, *arguments)
        self.waits[method].append(time.perf_counter() - asked)
        return answer.value

    def look(self) -> bool:
        progress = self._coordinator.look().progress
        assert progress is not None
        return progress.finished


def live(clerk: Clerk, lane: int, width: int, epoch_s: float, spread: float) -> None:
    """A lane's life, without the training."""
    chance = random.Random(lane)
    time.sleep(chance.uniform(0, spread * epoch_s))
    running: dict[int, tuple[Assignment, int]] = {}
    tick = clerk.call(lane, "attach").tick
    while True:
        free = tuple(slot for slot in range(width) if slot not in running)
        if free:
            work = clerk.call(lane, "next", tick, free)
            running |= {a.slot: (a, 0) for a in work.assignments}
            if work.done and not running:
                return
        time.sleep(epoch_s * chance.uniform(1 - spread / 10, 1 + spread / 10))
        reports = []
        for slot, (assignment, epochs) in running.items():
            running[slot] = (assignment, epochs + 1)
            ended = Outcome.COMPLETED if epochs + 1 == assignment.trial.epochs else None
            reports.append(Report(assignment.number, epochs + 1, {"accuracy": 1 - 1 / (epochs + 2)}, ended))
        if reports:
            stopped = {d.number for d in clerk.call(lane, "report", tick, tuple(reports)) if not d.keep}
            running = {slot: pair for slot, pair in running.items() if pair[0].number not in stopped}
        tick += 1


def measure(lanes: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One study on `lanes` simulated lanes."""
    trials = arguments.trials or lanes * arguments.width * 3
    with tempfile.TemporaryDirectory(prefix="lab-scaling-") as folder:
        job = Job(
            stage="explore",
            folder=Path(folder),
            task=TaskRef("digits"),
            space=Space(max_lr=Float(1e-3, 1.0, log=True), dropout=Float(0, 0.5)),
            recipe=Recipe(),
            training=Training({"kind": "adamw"}, 64, "stacked"),
            direction="maximize",
            metric="accuracy",
            seed=0,
            width=arguments.width,
            lanes=lanes,
            plan=SearchPlan({"kind": arguments.sampler}, {}, trials, arguments.epochs),
        )
        coordinator = Coordinator(0, 900.0)
        coordinator.run(job)
        clerk = Clerk(coordinator)
        for lane in range(lanes):
            coordinator.hello(lane, str(lane), {"node": "here"})
        threads = [
            threading.Thread(
                target=live, args=(clerk, lane, arguments.width, arguments.epoch_s, arguments.spread), daemon=True
            )
            for lane in range(lanes)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        while not clerk.look():
            time.sleep(0.25)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        for thread in threads:
            thread.join()
        coordinator.end_stage()
        size = Record(job.folder).journal_path.stat().st_size
        began = time.perf_counter()
        rows = read_trials(Record(job.folder), "explore")
        read_s = time.perf_counter() - began
    if len(rows) != trials or any(len(row.curve) != arguments.epochs for row in rows):
        raise RuntimeError(f"{len(rows)} of {trials} trials, or epochs, are missing")
    busy_s = coordinator._busy_s
    calls = sum(map(len, clerk.waits.values()))
    ideal_s = arguments.epochs * arguments.epoch_s * trials / (lanes * arguments.width)
    return {
        "lanes": lanes,
        "trials": trials,
        "seconds": round(seconds, 2),
        "trials_per_s": round(trials / seconds, 1),
        "epochs_per_s": round(trials * arguments.epochs / seconds, 1),
        "ideal_share": round(ideal_s / seconds, 3),
        "busy_share": round(busy_s / seconds, 3),
        "calls_per_s": round(calls / seconds, 1),
        "service_ms": round(1000 * busy_s / calls, 2),
        "driver_cpu_share": round(cpu / seconds, 3),
        "journal_mb": round(size / 1e6, 2),
        "read_trials_s": round(read_s, 2),
        "latency_ms": {
            method: {
                "p50": round(1000 * statistics.median(waits), 2),
                "p99": round(1000 * sorted(waits)[int(0.99 * (len(waits) - 1))], 2),
                "calls": len(waits),
            }
            for method, waits in clerk.waits.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lanes", default="200,400,1000,2000", help="sizes to measure")
    parser.add_argument("--trials", type=int, help="default: three for each slot")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--epoch-s", type=float, default=1.0)
    parser.add_argument("--spread", type=float, default=1.0, help="0: all start at once and stay in step")
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sizes = []
    for lanes in map(int, arguments.lanes.split(",")):
        sizes.append(measure(lanes, arguments))
        print(json.dumps(sizes[-1]), flush=True)
    if arguments.json:
        settings = {
            "epoch_s": arguments.epoch_s,
            "epochs": arguments.epochs,
            "width": arguments.width,
            "spread": arguments.spread,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        about = {**settings, "sampler": arguments.sampler, "cores": os.cpu_count()}
        arguments.json.write_text(json.dumps({**about, "sizes": sizes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
