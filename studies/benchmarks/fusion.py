"""How much faster trials train together in one lane than one after the other in plain PyTorch.

Every variant trains epochs of the same data, batch 64, with AdamW, one thread, in interleaved rounds; a figure is
the median over rounds of (plain time per step) / (lane time per step and trial), both from one round. `plain` is a
loop as tutorials write it, on tensors in memory; `best plain` is whichever has the least median of that, the same
with `AdamW(fused=True)`, and for images also channels_last. A lane's time is that of its whole epoch but the
validation: shuffles, schedules, losses, updates. The process keeps the memory that it frees, as a lane's does; plain
training gains by that too.

    python studies/benchmarks/fusion.py [--nets mlp-3.6k ...] [--widths 1 8 32] [--rounds 7] [--device cpu]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fusion_nets import NETS, Random

from lab.schedules import Constant
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.training.freed_memory import keep_freed_memory
from lab.training.stacking.layouts import NotStackable
from lab.training.trainer import ModelTrainer

BATCH = 64
CPU_NETS = ("mlp-3.6k", "mlp-27k", "tabular-18k", "cnn-16k", "resnet-78k")
GPU_NETS = (*CPU_NETS, "resnet-18", "transformer")
PATHS = ("stacked", "vmap", "sequential")
_TOO_WIDE = 1.3
"""Times slower than a narrower lane: wider ones are not measured."""


def plain(task: Random, device: str, fused: bool, channels_last: bool) -> Callable[[], float]:
    """A function that trains one epoch and gives the seconds of a step."""
    model = task.model({}).to(device)
    x, y = (t.to(device) for t in task.data("train"))
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), eps=1e-5, fused=fused or None)
    steps = len(x) // BATCH

    def epoch() -> float:
        begin = time.perf_counter()
        model.train()
        order = torch.randperm(len(x), device=device)
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(model(x[rows]), y[rows]))
            optimizer.step()
        _wait(device)
        return (time.perf_counter() - begin) / steps

    return epoch


def lane(task: Random, device: str, path: str, width: int) -> Callable[[], float]:
    """As `plain`, of `width` trials; the seconds of one trial's step.

    Raises:
        NotStackable: the model has no form on this path.
    """
    training = Training({"kind": "adamw"}, BATCH, path, device=device, record_losses=True)
    trainer = ModelTrainer(task, training, width, {})
    steps = len(task.data("train")[0]) // BATCH
    for slot in range(width):
        trainer.start(Assignment(slot, Trial({}, slot, 10_000 // steps, own_schedule=Constant(max_lr=1e-4)), slot, 0))

    def epoch() -> float:
        begin = time.perf_counter()
        results = trainer.epoch()
        _wait(device)
        assert len(results) == width
        return (time.perf_counter() - begin) / steps / width

    return epoch


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(net: str, device: str, widths: list[int], paths: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds per trial and step of every variant, and their ratios to plain training."""
    task = NETS[net]()
    image = task.data("train")[0].ndim == 4
    variants = {"plain": plain(task, device, False, False), "plain fused": plain(task, device, True, False)}
    if image:
        variants["plain fused channels_last"] = plain(task, device, True, True)
    refused: dict[str, str] = {}
    for path in paths:
        least = math.inf
        for width in widths if path != "sequential" else [1]:
            try:
                variants[f"{path} x {width}"] = epoch = lane(task, device, path, width)
            except NotStackable as error:
                refused[path] = str(error)
                break
            epoch()  # warms up
            seconds = min(epoch() for _ in range(5))
            least = min(least, seconds)
            if seconds > _TOO_WIDE * least:
                break
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, epoch in variants.items():
            seconds = epoch()
            if turn:  # the first warms up
                times[name].append(seconds * 1000)
    fastest = min((name for name in times if name.startswith("plain")), key=lambda name: statistics.median(times[name]))
    best = times[fastest]
    rows = {
        name: {
            "milliseconds": _spread(ms),
            "to_plain": _spread([p / t for p, t in zip(times["plain"], ms, strict=True)]),
            "to_best_plain": _spread([p / t for p, t in zip(best, ms, strict=True)]),
        }
        for name, ms in times.items()
    }
    parameters = sum(p.numel() for p in task.model({}).parameters())
    return {"net": net, "parameters": parameters, "rounds": rounds, "variants": rows, "refused": refused}


def _spread(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high}


def table(measured: dict[str, Any]) -> str:
    lines = [f"{measured['net']}, {measured['parameters']:,} parameters, n = {measured['rounds']} rounds", ""]
    lines += ["| variant | ms per trial and step | to plain | to best plain (quartiles) |", "|---|---|---|---|"]
    for name, row in measured["variants"].items():
        ms, one, two = row["milliseconds"], row["to_plain"], row["to_best_plain"]
        lines.append(
            f"| {name} | {ms['median']:.4f} | {one['median']:.2f} |"
            f" {two['median']:.2f} ({two['low']:.2f} to {two['high']:.2f}) |"
        )
    lines += [f"\n{path}: {why}" for path, why in measured["refused"].items()]
    return "\n".join(lines) + "\n"


def page(content: dict[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    best = []
    for measured in content["nets"]:
        lanes = {name: row for name, row in measured["variants"].items() if not name.startswith("plain")}
        name = max(lanes, key=lambda n: lanes[n]["to_best_plain"]["median"])
        one, two = (lanes[name][key]["median"] for key in ("to_plain", "to_best_plain"))
        best.append(f"| {measured['net']} | {name} | {one:.2f} | {two:.2f} |")
    head = f"""# Many trials in one lane, against plain PyTorch

Trials' steps per second, as a ratio to training one model in plain PyTorch: to AdamW as it comes, and to the fastest
of its plain variants (`fused=True`, channels_last). Batch {content["batch"]}, {content["threads"]} thread, medians of
rounds in turn. torch {content["torch"]}, {content["machine"]}, {content["cores"]} cores, {content["platform"]};
`python studies/benchmarks/fusion.py --json reports/fusion/result.json`. The process keeps the memory that it frees, as
a lane's does; plain training gains by that too.

| net | fastest path and width | to plain | to best plain |
|---|---|---|---|
"""
    return head + "\n".join(best) + "\n\n" + "\n".join(table(measured) for measured in content["nets"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=list(NETS))
    parser.add_argument("--widths", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--json", type=Path, help="Write the figures here, and a README.md beside it; other nets in it stay."
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    nets = []
    if options.json and options.json.exists():
        nets = [one for one in json.loads(options.json.read_text())["nets"] if one["net"] not in (options.nets or NETS)]
    for net in options.nets or (CPU_NETS if options.device == "cpu" else GPU_NETS):
        nets.append(measure(net, options.device, options.widths, options.paths, options.rounds))
        print(table(nets[-1]), flush=True)
    machine = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    content = {
        "machine": machine,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "torch": version("torch"),
        "threads": 1,
        "batch": BATCH,
        "nets": sorted(nets, key=lambda one: list(NETS).index(one["net"])),
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")
        options.json.with_name("README.md").write_text(page(content))


if __name__ == "__main__":
    main()
