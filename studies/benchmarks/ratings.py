"""MovieLens 100k, fold u1: a study of ratings, beside fastai's collaborative filtering as its documentation writes it.

    python studies/benchmarks/ratings.py --data FOLDER [--seeds 3] [--fastai PYTHON] --out reports/ratings

FOLDER holds movielens_100k_u1.base and movielens_100k_u1.test (GroupLens; not to be passed on). PYTHON is an
interpreter that has fastai 2.8; without it its rows are left out. Both learn from the same 80,000 ratings and are
scored on the same 20,000; each run is a process of its own, one after another: run it on an idle machine. Times include
reading.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLUMNS = ("user", "item", "rating", "time")
FASTAI_EPOCHS = (5, 20)


def write(data: Path, folder: Path) -> None:
    """Both parts with a header."""
    for part in ("base", "test"):
        rows = (data / f"movielens_100k_u1.{part}").read_text()
        (folder / f"{part}.tsv").write_text("\t".join(COLUMNS) + "\n" + rows)


def by_lab(folder: Path, seed: int) -> dict[str, Any]:
    """A whole study: range test, search, confirmation, final models, refit."""
    from lab.record.artefact import to_json
    from lab.spec.study import parse_spec
    from lab.study.study import Study

    task = {"kind": "ratings", "path": str(folder / "base.tsv"), "test_path": str(folder / "test.tsv")}
    spec = {
        "name": "movielens",
        "seed": seed,
        "task": {**task, "split": {"kind": "random", "valid": 0.1, "seed": seed}},
        "space": {
            "max_lr": {"from": "bounds"},
            "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
            "dropout": {"low": 0.0, "high": 0.6},
        },
        "batch_size": 512,
        "bounds": {"steps": 200},
        "search": {"trials": 16, "epochs": 5},
        "confirm": {"several": 0},
        "final": {"epochs": 10, "seeds": 3, "snapshots": 1},
    }
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        study = Study.from_spec(parse_spec(spec), Path(run) / "run")
        result = study.run()
        seconds = time.perf_counter() - begin
        chosen = json.loads((study.record.folder / "ensemble.json").read_text())
        handed = result.summary.handed
        assert handed is not None
        rows = {control["name"]: control["test"]["rmse"]["mean"] for control in chosen["controls"]}
        rows |= {b["name"]: b["with_valid"]["rmse"] for b in chosen["baselines"] if b.get("with_valid")}
        setup = to_json(result.best)
    return {"seconds": seconds, "rmse": handed.score, "rows": rows, "setup": setup["settings"]}


def by_fastai(folder: Path, seed: int) -> dict[str, Any]:
    """`collab_learner` as in fastai's tutorial: 50 factors, y_range (0, 5.5), 5e-3, weight decay .1."""
    import pandas as pd
    from fastai.collab import CollabDataLoaders, collab_learner
    from fastai.torch_core import set_seed

    results: dict[str, Any] = {}
    for epochs in FASTAI_EPOCHS:
        begin = time.perf_counter()
        set_seed(seed)
        frame = pd.read_csv(folder / "base.tsv", sep="\t")[["user", "item", "rating"]]
        loaders = CollabDataLoaders.from_df(frame, bs=64, valid_pct=0.1, seed=seed)
        learner = collab_learner(loaders, n_factors=50, y_range=(0, 5.5))
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(epochs, 5e-3, wd=0.1)
        test = pd.read_csv(folder / "test.tsv", sep="\t")
        predicted, target = learner.get_preds(dl=loaders.test_dl(test, with_labels=True))
        rmse = float((predicted.flatten() - target.flatten()).square().mean().sqrt())
        results[f"fastai, {epochs} epochs"] = {"rmse": rmse, "seconds": time.perf_counter() - begin}
    return results


def _run(python: str, part: str, folder: Path, seed: int) -> dict[str, Any]:
    command = [python, str(Path(__file__).resolve()), "--part", part, "--folder", str(folder), "--seeds", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def page(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """The report."""
    from measured import listed, machine, versions

    rows: dict[str, list[float]] = {"what a study hands out": [run["rmse"] for run in ours]}
    for run in ours:
        for name, rmse in run["rows"].items():
            rows.setdefault(name, []).append(rmse)
    seconds = {"what a study hands out": [run["seconds"] for run in ours]}
    for run in theirs:
        for name, one in run.items():
            rows.setdefault(name, []).append(one["rmse"])
            seconds.setdefault(name, []).append(one["seconds"])
    lines = []
    for name, values in rows.items():
        took = f"{statistics.median(seconds[name]):.0f}" if name in seconds else ""
        spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
        lines.append(f"| {name} | {statistics.mean(values):.4f}{spread} | {took} |")
    body = "\n".join(lines)
    return f"""# Ratings: MovieLens 100k, fold u1

Made by `studies/benchmarks/ratings.py`, {len(ours)} seeds. {listed(versions("lab", "torch", "scikit-learn"))};
{machine()}.
Test RMSE on 20,000 ratings: mean, least and largest over seeds. Seconds: the whole study, or one training by fastai.

| | test RMSE | seconds |
|---|---|---|
{body}

For comparison, as published for this fold: matrix factorisation with biases about .94, SVD++ about .92.
"""


def main() -> None:
    """Every seed in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fastai", help="an interpreter that has fastai")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part = by_lab if arguments.part == "lab" else by_fastai
        print(json.dumps(part(arguments.folder, arguments.seeds)))
        return
    from measured import keep

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(arguments.data, folder)
        for seed in range(arguments.seeds):
            ours.append(_run(sys.executable, "lab", folder, seed))
            print(seed, "lab", ours[-1], flush=True)
            if arguments.fastai:
                theirs.append(_run(arguments.fastai, "fastai", folder, seed))
                print(seed, "fastai", theirs[-1], flush=True)
    keep(arguments.out, {"lab": ours, "fastai": theirs}, page(ours, theirs))


if __name__ == "__main__":
    main()
