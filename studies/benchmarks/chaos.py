"""A study on a cluster of real nodes to which everything happens, held against the same study left alone.

    python studies/benchmarks/chaos.py --kills 200 --seed 0 --json reports/reliability/result.json

Starts a Ray head and workers as processes on this machine (loopback addresses 127.0.0.x, a token), runs a study on
them, and at random times kills or freezes lanes, nodes and the driver, tears the journal's end, or sends SIGTERM.
A frozen node keeps its connections and says nothing: the nearest to a network cut that needs no root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WIDTH, EPOCHS, SLEEP_S = 4, 24, 0.1
FAULTS = {
    "lane killed": 8,
    "lane frozen": 2,
    "node killed": 3,
    "node frozen": 2,
    "driver killed": 3,
    "driver killed, journal torn": 1,
    "driver told to stop": 1,
}
"""What happens, and how often relative to the others."""


def children(process: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [process]
    while queue:
        found.append(queue.pop())
        queue += below.get(found[-1], [])
    return found


def send(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


@dataclass
class Journal:
    """What the study's journal has said so far, read as it grows."""

    path: Path
    stage: str = "explore"
    place: int = 0
    lines: int = 0
    studies: list[str] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    """Of each trial, its study."""
    epochs: Counter[tuple[int, int]] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    lanes: dict[int, int] = field(default_factory=dict)

    def read(self) -> None:
        """Take in the complete lines that are new."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self.place)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, log: dict[str, Any]) -> None:
        trial = log.get("trial_id", -1)
        match log["op_code"]:
            case 0:
                self.studies.append(log["study_name"])
            case 4:
                self.stages.append(log["study_id"])
            case 6 if log["state"] in (1, 2, 3):
                self.ended[trial] += 1
            case 7:
                self.epochs[trial, log["step"]] += 1
            case 8 if "assignment" in log["user_attr"]:
                self.lanes[trial] = log["user_attr"]["assignment"]["lane"]

    def running(self, lanes: set[int] | None) -> set[int]:
        """Trials under way in these lanes, or in all."""
        return {t for t, lane in self.lanes.items() if not self.ended[t] and (lanes is None or lane in lanes)}

    def marks(self, trials: set[int]) -> int:
        """Epochs and ends of these trials: grows when one of them goes on."""
        return sum(1 for trial, _ in self.epochs if trial in trials) + sum(self.ended[t] for t in trials)


@dataclass
class Node:
    address: str
    process: subprocess.Popen[bytes]


class Cluster:
    """A head without lanes, and workers with one lane each."""

    def __init__(self, workers: int, count: Path) -> None:
        self._temp = tempfile.TemporaryDirectory(prefix="chaos", ignore_cleanup_errors=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        bin_folder = Path(sys.executable).parent
        health = {"period": "1000", "timeout": "3000", "initial_delay": "2000"}
        self.env = {
            **os.environ,
            **{f"RAY_health_check_{name}_ms": value for name, value in health.items()},
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "CHAOS_SLEEP_S": str(SLEEP_S),
            "CHAOS_COUNT": str(count),
        }
        self.head = self._start("127.0.0.1", ["--head", f"--port={self.port}", f"--temp-dir={self._temp.name}"], 0)
        time.sleep(4)
        self.workers = [self.start_worker(f"127.0.0.{i + 2}") for i in range(workers)]

    def start_worker(self, address: str) -> Node:
        return self._start(address, [f"--address={self.address}"], 1)

    def _start(self, address: str, options: list[str], cpus: int) -> Node:
        common = [f"--node-ip-address={address}", f"--num-cpus={cpus}", "--object-store-memory=80000000"]
        no_dashboard = ["--include-dashboard=false"] if "--head" in options else []
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *options, *common, *no_dashboard]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=self.env, stdout=quiet, stderr=quiet, start_new_session=True)
        return Node(address, process)

    def replace_dead(self) -> None:
        """Start a new node for each that has ended."""
        for i, node in enumerate(self.workers):
            if node.process.poll() is not None:
                send(children(node.process.pid), signal.SIGKILL)
                self.workers[i] = self.start_worker(node.address)

    def close(self) -> None:
        for node in [*self.workers, self.head]:
            send(children(node.process.pid), signal.SIGKILL)
            node.process.wait()
        self._temp.cleanup()


class Round:
    """One study, with faults until there have been enough, to its end."""

    def __init__(self, cluster: Cluster, folder: Path, seed: int, kills: int, every_s: float) -> None:
        self._cluster = cluster
        self._folder = folder
        self._kills = kills
        self._every_s = every_s
        self._random = random.Random(seed)
        self._spec = folder.parent / f"study-{seed}.yaml"
        lanes = len(cluster.workers)
        trials = max(int(1.5 * kills * every_s * lanes / (EPOCHS * SLEEP_S)), 8 * lanes)
        self._spec.write_text(json.dumps(spec(seed, trials, lanes)))
        self._journal = Journal(folder / "ledger.journal")
        self._seen: set[tuple[int, int]] = set()
        self._log = open(folder.parent / f"driver-{seed}.log", "ab")  # noqa: SIM115 - closed by `run`
        self._driver = self._start_driver()
        self._thaw: list[tuple[float, list[int]]] = []
        self.faults: list[dict[str, Any]] = []

    def _start_driver(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lab", "study", "run", str(self._spec), "--dir", str(self._folder)]
        command += ["--address", self._cluster.address, "--until", "explore"]
        return subprocess.Popen(command, env=self._cluster.env, cwd=ROOT, stdout=self._log, stderr=self._log)

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        next_at: float | None = None
        while self._driver.poll() is None:
            time.sleep(0.1)
            self._tend()
            if next_at is None and self._journal.running(None):
                next_at = time.monotonic() + self._pause_s()
            if next_at is not None and time.monotonic() >= next_at and len(self.faults) < self._kills:
                self._strike()
                next_at = time.monotonic() + self._pause_s()
        if self._driver.returncode != 0:
            said = Path(self._log.name).read_text()[-3000:]
            raise RuntimeError(f"the driver ended with {self._driver.returncode}:\n{said}")
        for _, frozen in self._thaw:
            send(frozen, signal.SIGCONT)
        self._log.close()
        self._journal.read()
        return self._account(time.monotonic() - began)

    def _pause_s(self) -> float:
        return min(self._random.expovariate(1 / self._every_s), 4 * self._every_s)

    def _tend(self) -> None:
        now = time.monotonic()
        self._journal.read()
        self._seen |= set(self._journal.epochs)
        for at, frozen in [entry for entry in self._thaw if entry[0] <= now]:
            send(frozen, signal.SIGCONT)
            self._thaw.remove((at, frozen))
        self._cluster.replace_dead()

    def _lanes(self) -> list[dict[str, Any]]:
        """Lanes at work, as the study folder tells of them."""
        with contextlib.suppress(OSError, ValueError):
            now = json.loads((self._folder / "lanes" / "now.json").read_text())
            if time.time() - now["written_at"] < 5:
                return [lane for lane in now["lanes"] if lane["state"] == "working"]
        return []

    def _strike(self) -> None:
        lanes = self._lanes()
        kind = self._random.choices(list(FAULTS), list(FAULTS.values()))[0]
        lane = self._random.choice(lanes) if lanes else None
        if lane is None and not kind.startswith("driver"):
            return
        self._journal.read()
        if kind.startswith("lane"):
            assert lane is not None  # else returned
            hit = {lane["lane"]}
            send([lane["process"]], signal.SIGKILL if kind == "lane killed" else signal.SIGSTOP)
            if kind == "lane frozen":
                self._thaw.append((time.monotonic() + self._random.uniform(9, 15), [lane["process"]]))
        elif kind.startswith("node"):
            node = self._random.choice(self._cluster.workers)
            hit = {entry["lane"] for entry in lanes if entry["address"] == node.address}
            tree = children(node.process.pid)
            send(tree, signal.SIGKILL if kind == "node killed" else signal.SIGSTOP)
            if kind == "node frozen":
                self._thaw.append((time.monotonic() + self._random.uniform(9, 20), tree))
        else:
            hit = set(range(len(self._cluster.workers)))
            self._end_driver(kind)
        self._journal.read()  # what was written until then is no recovery
        trials = self._journal.running(hit)
        marks, at = self._journal.marks(trials), time.monotonic()
        if kind.startswith("driver"):
            self._driver = self._start_driver()
        fault: dict[str, Any] = {"kind": kind, "recovery_s": None}
        self.faults.append(fault)
        while trials and time.monotonic() - at < 120 and self._driver.poll() is None:
            time.sleep(0.1)
            self._tend()
            if self._journal.marks(trials) > marks:
                break
        self._journal.read()
        if self._journal.marks(trials) > marks:
            fault["recovery_s"] = round(time.monotonic() - at, 1)
        print(f"  {len(self.faults):4} {kind:28} {fault['recovery_s']} s", flush=True)

    def _end_driver(self, kind: str) -> None:
        asked = time.monotonic()
        self._driver.send_signal(signal.SIGTERM if kind == "driver told to stop" else signal.SIGKILL)
        code = self._driver.wait(timeout=60)
        if kind == "driver told to stop" and (code not in (0, 130) or time.monotonic() - asked > 30):
            raise RuntimeError(f"SIGTERM: exit status {code} after {time.monotonic() - asked:.0f} s")
        if kind.endswith("torn"):
            path = self._folder / "ledger.journal"
            with open(path, "ab") as file:  # what a kill in the middle of a write leaves
                file.write(b'{"op_code":7,"worker_id":"torn","tri')

    def _account(self, seconds: float) -> dict[str, Any]:
        from lab.record import Record
        from lab.trials import read_trials

        alone = self._folder.parent / f"{self._folder.name}-alone"
        command = [sys.executable, "-m", "lab", "study", "run", str(self._spec), "--dir", str(alone)]
        env = {name: value for name, value in self._cluster.env.items() if not name.startswith("CHAOS")}
        subprocess.run(
            [*command, "--engine", "local", "--until", "explore"],
            env=env,
            cwd=ROOT,
            check=True,
            stderr=subprocess.DEVNULL,
        )

        def told(folder: Path) -> dict[int, Any]:
            rows = read_trials(Record(folder), "explore")
            return {row.number: (row.params, str(row.outcome), row.score, row.curve) for row in rows}

        with_faults, undisturbed = told(self._folder), told(alone)
        best = [Record(folder).need("explore")["best"] for folder in (self._folder, alone)]
        return {
            "trials": len(undisturbed),
            "trials_as_undisturbed": sum(with_faults.get(n) == told for n, told in undisturbed.items()),
            "trials_not_accounted_once": len(with_faults.keys() ^ undisturbed.keys())
            + sum(count != 1 for count in self._journal.ended.values()),
            "lost_epochs": len(self._seen - set(self._journal.epochs)),
            "duplicate_epochs": sum(count - 1 for count in self._journal.epochs.values()),
            "same_choice": best[0] == best[1],
            "epochs": len(self._journal.epochs),
            "seconds": round(seconds, 1),
            "faults": self.faults,
        }


def spec(seed: int, trials: int, lanes: int) -> dict[str, Any]:
    """A random search: what a trial's number is decides all of it, so that the order of events may not matter."""
    return {
        "name": f"chaos-{seed}",
        "seed": seed,
        "task": {"kind": f"{Path(__file__).with_name('chaos_task.py')}:SlowDigits"},
        "space": {
            "max_lr": {"low": 0.001, "high": 0.3, "log": True},
            "cycles": {"choice": [1, 2]},
            "dropout": {"low": 0.0, "high": 0.5},
        },
        "search": {"sampler": {"kind": "random"}, "trials": trials, "epochs": EPOCHS},
        "execution": {"lanes": lanes, "width": WIDTH, "path": "stacked", "checkpoint_s": 2.0, "hang_s": 60.0},
    }


@contextlib.contextmanager
def counted(path: Path) -> Iterator[list[int]]:
    """How many epochs were trained inside the block, in all processes."""
    before = path.stat().st_size if path.exists() else 0
    found = [0]
    yield found
    found[0] = path.stat().st_size - before


def summary(rounds: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    faults = [fault for entry in rounds for fault in entry["faults"]]
    by_kind = {}
    for kind in FAULTS:
        times = [f["recovery_s"] for f in faults if f["kind"] == kind and f["recovery_s"] is not None]
        by_kind[kind] = {
            "count": sum(f["kind"] == kind for f in faults),
            "recovery_median_s": statistics.median(times) if times else None,
            "recovery_worst_s": max(times, default=None),
        }
    epochs, trained = sum(r["epochs"] for r in rounds), sum(r["trained_epochs"] for r in rounds)
    totals = ("trials", "trials_as_undisturbed", "trials_not_accounted_once", "lost_epochs", "duplicate_epochs")
    return {
        "kills": len(faults),
        "studies": len(rounds),
        "seed": arguments.seed,
        "nodes": arguments.nodes,
        **{name: sum(r[name] for r in rounds) for name in totals},
        "same_choice": all(r["same_choice"] for r in rounds),
        "seconds": round(sum(r["seconds"] for r in rounds), 1),
        "seconds_per_kill": round(sum(r["seconds"] for r in rounds) / max(len(faults), 1), 1),
        "epochs": epochs,
        "repeated_share": round(trained / epochs - 1, 4),
        "by_kind": by_kind,
        "cores": os.cpu_count(),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=8.0, help="mean seconds between recovery and the next fault")
    parser.add_argument("--nodes", type=int, default=2, help="workers beside the head")
    parser.add_argument("--round", type=int, default=20, help="faults per study")
    parser.add_argument("--json", type=Path, help="where the figures go; else they are printed")
    arguments = parser.parse_args()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="lab-chaos-", ignore_cleanup_errors=True) as scratch:
        count = Path(scratch) / "epochs"
        cluster = Cluster(arguments.nodes, count)
        try:
            while (done := sum(len(r["faults"]) for r in rounds)) < arguments.kills:
                seed = arguments.seed + len(rounds)
                kills = min(arguments.round, arguments.kills - done)
                print(f"study {len(rounds)}, seed {seed}", flush=True)
                with counted(count) as trained:
                    entry = Round(cluster, Path(scratch) / f"run-{seed}", seed, kills, arguments.every).run()
                rounds.append({"seed": seed, **entry, "trained_epochs": trained[0]})
                if not entry["faults"]:
                    raise RuntimeError("the study was over before anything happened to it; lower --every")
                if arguments.json:  # after each study, so that a long run leaves something however it ends
                    arguments.json.parent.mkdir(parents=True, exist_ok=True)
                    arguments.json.write_text(json.dumps(summary(rounds, arguments), indent=1) + "\n")
        finally:
            cluster.close()
    print(json.dumps({k: v for k, v in summary(rounds, arguments).items() if k != "rounds"}, indent=1))


if __name__ == "__main__":
    main()
