"""A study on a cluster of real nodes to which everything happens, held against the same study left alone.

    python studies/benchmarks/chaos.py --kills 200 --seed 0 --isolated --every 3 --json out/0.json

Starts a Ray head and workers as processes on this machine (see `chaos_cluster.py`), runs a study on them, and at random
times kills or freezes lanes, nodes and the driver, takes their memory or their files, tears the journal's end, or sends
signals. With `--isolated`, as root, it also cuts nodes off the network and fills the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from chaos_cluster import ROOT, Cluster, Disk, children, disk, send
from chaos_journal import Journal, account
from chaos_summary import summary, table

from lab.record.provenance import provenance

WIDTH, EPOCHS, SLEEP_S = 4, 24, 0.1
FAULTS = {
    "lane killed": 6,
    "lane killed and its checkpoint gone": 1,
    "lane segfault": 2,
    "lane frozen": 2,
    "lane hangs": 1,
    "lane out of memory": 2,
    "node killed": 3,
    "node told to leave": 2,
    "node frozen": 2,
    "driver killed": 3,
    "driver killed and journal torn": 1,
    "driver told to stop": 1,
    "driver interrupted twice": 1,
    "driver number two": 1,
    "head node killed": 1,
}
"""What happens, and how often relative to the others."""
ISOLATED_FAULTS = {"node cut off": 3, "disk full": 2}
"""What needs root."""
INSIDE = {"lane hangs": "hang", "lane out of memory": "out of memory"}
"""What happens inside an epoch, and what `chaos_task.py` calls it."""
ENDS = {"driver told to stop": (signal.SIGTERM,), "driver interrupted twice": (signal.SIGINT, signal.SIGINT)}
"""How a driver is asked to end; else it is killed."""


class Round:
    """One study, with faults until there have been enough, to its end."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        disk: Disk | None,
        seed: int,
        kills: int,
        every_s: float,
        kinds: dict[str, int],
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._disk = disk
        self._kinds = kinds
        self._kills = kills
        self._every_s = every_s
        self._random = random.Random(seed)
        self._spec = folder.parent / f"study-{seed}.yaml"
        lanes = len(cluster.workers)
        self._trials = max(int(1.5 * kills * every_s * lanes / (EPOCHS * SLEEP_S)), 8 * lanes)
        self._spec.write_text(json.dumps(spec(seed, self._trials, lanes)))
        self._journal = Journal(folder / "ledger.journal")
        self._seen: set[tuple[int, int]] = set()
        self._log = open(folder.parent / f"driver-{seed}.log", "ab")  # noqa: SIM115 - closed by `run`
        self._driver = self._start_driver()
        self._mends: list[tuple[float, Callable[[], None]]] = []
        """What ends a fault that passes, and when."""
        self.faults: list[dict[str, Any]] = []

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "lab", "study", "run", str(self._spec), "--dir", str(self._folder)]
        return [*command, "--address", self._cluster.address, "--until", "explore"]

    def _start_driver(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command(), env=self._cluster.env, cwd=ROOT, stdout=self._log, stderr=self._log)

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
        for _, mend in self._mends:
            mend()
        self._log.close()
        self._journal.read()
        return self._account(time.monotonic() - began)

    def _pause_s(self) -> float:
        return min(self._random.expovariate(1 / self._every_s), 4 * self._every_s)

    def _tend(self) -> None:
        now = time.monotonic()
        self._journal.read()
        self._seen |= set(self._journal.epochs)
        for entry in [entry for entry in self._mends if entry[0] <= now]:
            entry[1]()
            self._mends.remove(entry)
        self._cluster.replace_dead()

    def _lanes(self) -> list[dict[str, Any]]:
        """Lanes at work, as the study folder tells of them."""
        with contextlib.suppress(OSError, ValueError):
            now = json.loads((self._folder / "lanes" / "now.json").read_text())
            if time.time() - now["written_at"] < 5:
                return [lane for lane in now["lanes"] if lane["state"] == "working"]
        return []

    def _strike(self) -> None:
        lanes, said = self._lanes(), ""
        kind = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        lane = self._random.choice(lanes) if lanes else None
        if lane is None and kind.partition(" ")[0] in ("lane", "node"):
            return
        self._journal.read()
        if kind == "driver number two":
            self.faults.append({"kind": kind, "recovery_s": None, "said": self._start_another()})
            print(f"  {len(self.faults):4} {kind:34} refused", flush=True)
            return
        if kind.startswith("lane"):
            assert lane is not None  # else returned
            hit = {lane["lane"]}
            kind = self._strike_lane(kind, lane)
        elif kind.startswith("node"):
            hit = self._strike_node(kind, lanes)
        else:
            hit = set(range(len(self._cluster.workers)))
            said = self._fill_disk() if kind == "disk full" else self._end_driver(kind)
        self._journal.read()  # what was written until then is no recovery
        trials = self._journal.running(hit)
        marks, at = self._journal.marks(trials), time.monotonic()
        if kind == "head node killed":
            self._cluster.lose_head()
        if self._disk:
            self._disk.free()
        if self._driver.poll() is not None:
            self._driver = self._start_driver()
        fault: dict[str, Any] = {"kind": kind, "recovery_s": None, "load": round(os.getloadavg()[0], 1)}
        fault |= {"said": said} if said else {}
        self.faults.append(fault)
        while trials and time.monotonic() - at < 180 and self._driver.poll() is None:
            time.sleep(0.1)
            self._tend()
            if self._journal.marks(trials) > marks:
                break
        self._journal.read()
        if self._journal.marks(trials) > marks:
            fault["recovery_s"] = round(time.monotonic() - at, 1)
        print(f"  {len(self.faults):4} {kind:34} {fault['recovery_s']} s", flush=True)

    def _strike_lane(self, kind: str, lane: dict[str, Any]) -> str:
        """Hit a lane; what was done to it."""
        if kind == "lane out of memory" and any(fault["kind"] == kind for fault in self.faults):
            kind = "lane killed"  # a lane of one slot has none to give up, and its trial would end
        process = int(lane["process"])
        if kind in INSIDE:
            self._cluster.order(process, INSIDE[kind])
        elif kind == "lane frozen":
            send([process], signal.SIGSTOP)
            self._later(9, 15, partial(send, [process], signal.SIGCONT))
        else:
            send([process], signal.SIGSEGV if kind == "lane segfault" else signal.SIGKILL)
        if kind.endswith("checkpoint gone"):
            (self._folder / "lanes" / f"explore-{lane['lane']}.safetensors").unlink(missing_ok=True)
        return kind

    def _start_another(self) -> str:
        """Start a second driver on the same study; what it says."""
        done = subprocess.run(
            self._command(), env=self._cluster.env, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
        )
        said = done.stderr.strip().splitlines()[-1]
        if done.returncode == 0 or f"in use by lab study, process {self._driver.pid}" not in said:
            raise RuntimeError(f"a second driver: exit status {done.returncode}, and it said: {said}")
        return said

    def _later(self, least_s: float, most_s: float, mend: Callable[[], None]) -> None:
        self._mends.append((time.monotonic() + self._random.uniform(least_s, most_s), mend))

    def _strike_node(self, kind: str, lanes: list[dict[str, Any]]) -> set[int]:
        """Hit a node; the lanes on it."""
        worker = self._random.randrange(len(self._cluster.workers))
        node = self._cluster.workers[worker]
        tree = children(node.process.pid)
        if kind == "node cut off":
            assert self._cluster.network is not None  # or the kind could not be chosen
            self._cluster.network.cut(worker)
            self._later(9, 30, partial(self._cluster.network.mend, worker))
        elif kind == "node told to leave":
            send([node.process.pid], signal.SIGTERM)
            node.process.wait(timeout=60)
        else:
            send(tree, signal.SIGKILL if kind == "node killed" else signal.SIGSTOP)
        if kind == "node frozen":
            self._later(9, 20, partial(send, tree, signal.SIGCONT))
        return {entry["lane"] for entry in lanes if entry["address"] == node.address}

    def _fill_disk(self) -> str:
        """Take all space until the driver has given up; its last words."""
        assert self._disk is not None  # or the kind could not be chosen
        deadline = time.monotonic() + 40
        while self._driver.poll() is None:
            if time.monotonic() > deadline:
                log = Path(self._log.name).read_text()[-3000:]
                raise RuntimeError(f"the disk is full, and the driver goes on:\n{log}")
            self._disk.fill()
            time.sleep(0.05)
        said = Path(self._log.name).read_text().strip().splitlines()[-1]
        if not said.startswith("lab: "):
            raise RuntimeError(f"the disk was full, and the driver ended with: {said}")
        return said

    def _end_driver(self, kind: str) -> str:
        asked = time.monotonic()
        for number in ENDS.get(kind, (signal.SIGKILL,)):
            self._driver.send_signal(number)
            time.sleep(0.5)
        code = self._driver.wait(timeout=60)
        if kind in ENDS and (code not in (0, 130) or time.monotonic() - asked > 30):
            raise RuntimeError(f"{kind}: exit status {code} after {time.monotonic() - asked:.0f} s")
        if kind.endswith("torn"):
            path = self._folder / "ledger.journal"
            with open(path, "ab") as file:  # what a kill in the middle of a write leaves
                file.write(b'{"op_code":7,"worker_id":"torn","tri')
        return ""

    def _account(self, seconds: float) -> dict[str, Any]:
        alone = self._folder.parent / f"{self._folder.name}-alone"
        trials = f"search.trials={self._trials + len(self._journal.replaces)}"
        command = [sys.executable, "-m", "lab", "study", "run", str(self._spec), "--dir", str(alone), "--set", trials]
        env = {name: value for name, value in self._cluster.env.items() if not name.startswith("CHAOS")}
        subprocess.run(
            [*command, "--engine", "local", "--until", "explore"],
            env=env,
            cwd=ROOT,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        counts = account(self._folder, alone, self._trials, self._journal, self._seen)
        return {**counts, "seconds": round(seconds, 1), "faults": self.faults}


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
        "execution": {"lanes": lanes, "width": WIDTH, "path": "stacked", "checkpoint_s": 2.0, "hang_s": 20.0},
    }


@contextlib.contextmanager
def counted(path: Path) -> Iterator[list[int]]:
    """How many epochs were trained inside the block, in all processes."""
    before = path.stat().st_size if path.exists() else 0
    count = [0]
    yield count
    count[0] = path.stat().st_size - before


@contextlib.contextmanager
def kept_on_error(folder: Path) -> Iterator[None]:
    """Leave a study that ended badly, and its driver's log, where they can be looked at."""
    try:
        yield
    except Exception:
        kept = tempfile.mkdtemp(prefix="lab-chaos-kept-")
        shutil.copytree(folder.parent, kept, dirs_exist_ok=True)
        print(f"the study is left in {kept}", flush=True)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=8.0, help="mean seconds between recovery and the next fault")
    parser.add_argument("--nodes", type=int, default=2, help="workers beside the head")
    parser.add_argument("--round", type=int, default=20, help="faults per study")
    parser.add_argument("--isolated", action="store_true", help="network namespaces and a disk of their own (root)")
    parser.add_argument("--only", help="the kinds of faults, with commas between them")
    parser.add_argument("--json", type=Path, help="where the figures go; else they are printed")
    arguments = parser.parse_args()
    kinds = FAULTS | (ISOLATED_FAULTS if arguments.isolated else {})
    if arguments.only:
        kinds = {kind: kinds[kind] for kind in arguments.only.split(",")}
    rounds: list[dict[str, Any]] = []
    how = {
        "isolated": arguments.isolated,
        "every_s": arguments.every,
        "nodes": arguments.nodes,
        "commit": provenance().get("commit"),
    }
    with tempfile.TemporaryDirectory(prefix="lab-chaos-", ignore_cleanup_errors=True) as scratch:
        count = Path(scratch) / "epochs"
        orders = Path(scratch) / "orders"
        cluster = Cluster(
            arguments.nodes, {"CHAOS_SLEEP_S": str(SLEEP_S), "CHAOS_COUNT": str(count)}, orders, arguments.isolated
        )
        try:
            while (done := sum(len(r["faults"]) for r in rounds)) < arguments.kills:
                seed = arguments.seed + len(rounds)
                kills = min(arguments.round, arguments.kills - done)
                print(f"study {len(rounds)}, seed {seed}", flush=True)
                folder = Path(scratch) / f"run-{seed}"
                with counted(count) as trained, disk(folder, arguments.isolated) as space, kept_on_error(folder):
                    entry = Round(cluster, folder, space, seed, kills, arguments.every, kinds).run()
                rounds.append({"seed": seed, **how, **entry, "trained_epochs": trained[0]})
                if not entry["faults"]:
                    raise RuntimeError("the study was over before anything happened to it; lower --every")
                if arguments.json:  # after each study, so that a long run leaves something however it ends
                    arguments.json.parent.mkdir(parents=True, exist_ok=True)
                    arguments.json.write_text(json.dumps({**summary(rounds), "rounds": rounds}, indent=1) + "\n")
        finally:
            cluster.close()
    figures = summary(rounds)
    print(json.dumps({name: value for name, value in figures.items() if name != "by_kind"}, indent=1))
    print(table(figures["by_kind"]))


if __name__ == "__main__":
    main()
