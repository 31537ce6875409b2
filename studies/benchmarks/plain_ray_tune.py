"""The explore stage of `studies/digits.yaml` against the same search written by hand on plain Ray Tune.

By hand: OptunaSearch (TPE), one Ray trial per configuration, reused actors, the same model, data, batch size and
number of epochs, one thread per trial, both cores. Two ways of writing it are measured: `typical`, as tutorials do
(DataLoader, plain AdamW, torch's schedulers, Tune's default loggers), and `tuned`, by somebody who knows the costs
(tensors indexed in memory, fused AdamW, no loggers). Each side is a process of its own, run in turn, `--rounds`
times; its time includes Ray's start, and for `lab` the probe and the range test, which the others do not have (their
max_lr range is given).

    python studies/benchmarks/plain_ray_tune.py [--trials 64] [--epochs 27] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("lab", "typical", "tuned")


def train(config: dict[str, Any]) -> None:
    """One trial, as a user would write it."""
    import torch
    from ray import tune

    from lab.schedules import OneCycle, Snapshot
    from lab.tasks.digits import Digits

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    task = Digits()
    x, y = task.data("train")
    valid_x, valid_y = task.data("valid")
    model = task.model({"dropout": config["dropout"]})
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), eps=1e-5, fused=True)
    steps = len(x) // 64
    total = steps * config["epochs"]
    common = {"max_lr": config["max_lr"], "weight_decay": config["weight_decay"]}
    one = config["cycles"] == 1
    schedule = OneCycle(**common) if one else Snapshot(cycles=config["cycles"], **common)
    curves = schedule.curves(None, total)
    step = 0
    for _ in range(config["epochs"]):
        model.train()
        order = torch.randperm(len(x))
        for batch in range(steps):
            rows = order[batch * 64 : (batch + 1) * 64]
            group = optimizer.param_groups[0]
            group["lr"], group["weight_decay"] = float(curves.lr[step]), float(curves.weight_decay[step])
            group["betas"] = (float(curves.momentum[step]), 0.99)
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(model(x[rows]), y[rows]))
            optimizer.step()
            step += 1
        model.eval()
        with torch.no_grad():
            accuracy = float((model(valid_x).argmax(1) == valid_y).float().mean())
        tune.report({"accuracy": accuracy})


def train_typically(config: dict[str, Any]) -> None:
    """The same trial, as tutorials write it."""
    import torch
    from ray import tune
    from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR
    from torch.utils.data import DataLoader, TensorDataset

    from lab.tasks.digits import Digits

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    task = Digits()
    train_loader = DataLoader(TensorDataset(*task.data("train")), batch_size=64, shuffle=True, drop_last=True)
    valid_loader = DataLoader(TensorDataset(*task.data("valid")), batch_size=256)
    model = task.model({"dropout": config["dropout"]})
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["max_lr"], weight_decay=config["weight_decay"])
    total = len(train_loader) * config["epochs"]
    scheduler: LRScheduler = (
        OneCycleLR(optimizer, config["max_lr"], total_steps=total)
        if config["cycles"] == 1
        else CosineAnnealingWarmRestarts(optimizer, T_0=-(-total // config["cycles"]))
    )
    for _ in range(config["epochs"]):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(model(x), y))
            optimizer.step()
            scheduler.step()
        model.eval()
        right = count = 0
        with torch.no_grad():
            for x, y in valid_loader:
                right += int((model(x).argmax(1) == y).sum())
                count += len(y)
        tune.report({"accuracy": right / count})


def by_hand(trials: int, epochs: int, seed: int, typical: bool) -> None:
    """The search on plain Ray Tune; prints its best score."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    if not typical:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {
        "max_lr": tune.loguniform(1e-3, 0.6),
        "cycles": tune.choice([1, 2, 3]),
        "weight_decay": tune.loguniform(1e-4, 1.0),
        "dropout": tune.uniform(0.0, 0.6),
        "seed": tune.randint(0, 2**31 - 1),
        "epochs": epochs,
    }
    search = ConcurrencyLimiter(OptunaSearch(metric="accuracy", mode="max", seed=seed), max_concurrent=2)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(train_typically if typical else train, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="accuracy", mode="max", num_samples=trials, search_alg=search, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        print(json.dumps({"best": results.get_best_result().metrics["accuracy"], "trials": len(results)}))


def by_lab(trials: int, epochs: int, seed: int) -> None:
    """The same with `lab`, up to the end of its explore stage."""
    from lab.spec import read_spec
    from lab.study import Study

    overrides = {"search.trials": trials, "search.epochs": epochs, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        spec = read_spec(ROOT / "studies/digits.yaml", overrides)
        explore = Study.from_spec(spec, Path(folder) / "run").run(until="explore").artefact("explore")
        print(json.dumps({"best": explore["best"]["score"], "trials": explore["trials"]}))


def timed(side: str, trials: int, epochs: int, seed: int) -> dict[str, Any]:
    """Run one side in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--side", side, "--trials", str(trials), "--epochs", str(epochs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=True, env=environment)
    seconds = time.perf_counter() - begin
    return {"side": side, "seed": seed, "seconds": seconds, **json.loads(done.stdout.strip().splitlines()[-1])}


def main() -> None:
    """Run both sides in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        what = arguments.trials, arguments.epochs, arguments.seed
        if arguments.side == "lab":
            by_lab(*what)
        else:
            by_hand(*what, typical=arguments.side == "typical")
        return
    runs = []
    for number in range(arguments.rounds):
        for side in SIDES:
            runs.append(timed(side, arguments.trials, arguments.epochs, arguments.seed + number))
            print({key: round(v, 4) if isinstance(v, float) else v for key, v in runs[-1].items()}, flush=True)
    seconds = {side: [run["seconds"] for run in runs if run["side"] == side] for side in SIDES}
    ratios = {side: [hand / lab for hand, lab in zip(seconds[side], seconds["lab"], strict=True)] for side in SIDES[1:]}
    summary = {
        "ratio": {
            side: {"median": statistics.median(found), "min": min(found), "max": max(found)}
            for side, found in ratios.items()
        },
        "seconds_median": {side: statistics.median(values) for side, values in seconds.items()},
        "rounds": arguments.rounds,
        "trials": arguments.trials,
        "epochs": arguments.epochs,
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "versions": {name: version(name) for name in ("lab", "torch", "ray", "optuna", "scikit-learn")},
        "runs": runs,
    }
    print(json.dumps({k: v for k, v in summary.items() if k != "runs"}, indent=1))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
