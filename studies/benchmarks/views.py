"""What do several views of an image gain where an ensemble predicts (`task.views`), and what do they cost?

A study of a part of CIFAR-10 for each seed, from range test to what is handed out; then the same weights predict the
10,000 test images with one view, two (mirrored as well) and ten (moved as well). Seconds are those of predicting all of
them, in turn.

    python studies/benchmarks/views.py --data FOLDER [--seeds 3] [--images 5000] [--size 16] [--output reports/views]

FOLDER holds cifar10/train.parquet and cifar10/test.parquet.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from measured import keep, listed, machine, median_and_span, versions

from lab.record.spec_file import read_spec
from lab.stages.predictor import Ensemble
from lab.study.study import Study
from lab.training.ensemble import negative_log_likelihood

ROOT = Path(__file__).resolve().parents[2]
VIEWS = (1, 2, 10)


def measure(data: Path, seed: int, images: int, size: int) -> list[dict[str, Any]]:
    """One study, and what its ensemble is worth with each number of views."""
    settings = {
        "task.path": str(data / "cifar10/train.parquet"),
        "task.test_path": str(data / "cifar10/test.parquet"),
        "task.limit": images,
        "task.size": size,
        "task.flip": True,
        "task.shift": 1,
        "batch_size": 64,
        "search.trials": 12,
        "search.epochs": 4,
        "final.epochs": 12,
        "final.controls": "none",
        "seed": seed,
    }
    spec = read_spec(ROOT / "studies/images.yaml", settings)
    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(spec, Path(folder) / "run")
        study.run(engine="local")
        rows = []
        for views in VIEWS:
            ensemble = Ensemble.handed_out(
                read_spec(ROOT / "studies/images.yaml", {**settings, "task.views": views}), study.record
            )
            x, y = ensemble.test_data()
            begin = time.perf_counter()
            prediction = ensemble.predict(x)
            seconds = time.perf_counter() - begin
            accuracy = float((prediction.argmax(dim=1) == y).double().mean())
            nll = float(negative_log_likelihood(prediction, y).mean())
            rows.append({"seed": seed, "views": views, "accuracy": accuracy, "nll": nll, "seconds": seconds})
            print(rows[-1], flush=True)
        return rows


def page(content: Mapping[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    rows, first = content["rows"], {r["seed"]: r for r in content["rows"] if r["views"] == 1}
    text = f"""# Several views of an image, where the ensemble predicts

Made by `python studies/benchmarks/views.py --data FOLDER --output reports/views`: {content["images"]} images of
CIFAR-10 at {content["size"]} px, split into training and validation, 10,000 to test; what a study hands out, n =
{len(first)} seeds.
{listed(content["versions"])}; {content["machine"]}.

| views | accuracy | more than one view, seed by seed | nll | times as long |
|---|---|---|---|---|
"""
    for views in VIEWS:
        mine = [r for r in rows if r["views"] == views]
        gains = [r["accuracy"] - first[r["seed"]]["accuracy"] for r in mine]
        times = [r["seconds"] / first[r["seed"]]["seconds"] for r in mine]
        text += (
            f"| {views} | {statistics.mean(r['accuracy'] for r in mine):.4f}"
            f" | {statistics.mean(gains):+.4f} ({min(gains):+.4f} to {max(gains):+.4f})"
            f" | {statistics.mean(r['nll'] for r in mine):.4f} | {median_and_span(times)} |\n"
        )
    return text


def main() -> None:
    """Run a study for each seed and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    rows = [
        row
        for seed in range(arguments.seeds)
        for row in measure(arguments.data.resolve(), seed, arguments.images, arguments.size)
    ]
    content = {
        "machine": machine(),
        "versions": versions("lab", "torch", "scikit-learn"),
        "images": arguments.images,
        "size": arguments.size,
        "rows": rows,
    }
    keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
