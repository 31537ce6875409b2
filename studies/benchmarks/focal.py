"""Focal loss (`focal_gamma`) and class weights (`balance`) on tasks with rare classes, beside the cross entropy.

    python studies/benchmarks/focal.py --data FOLDER [--seeds 8] [--only NAME ...] [--out reports/focal]

FOLDER holds `tabular/adult_{train,test}.csv` and `cifar10/{train,test}.parquet`. What is done, as it was written down
before any score was seen:

- Classes are thinned to a twentieth, in the test rows as in those to train on, for metrics are those of the task as it
  is.
- Gamma 0, 1 and 2 are trained with balance 0 and 1, on the same rows and seeds, for the same epochs of a 1cycle of
  AdamW, at two rates each; the rate of each is the one with the higher mean validation accuracy.
- Test scores are compared seed by seed with gamma 0 at the same balance, and balance 1 with 0 at gamma 0. An interval
  that holds 0 is no gain. There are many comparisons, so one interval in twenty misses by chance.
- Log loss is told as it is, and with a temperature found on the validation rows, as an ensemble's is.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.stats
import torch
from measured import keep, listed, machine, versions
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

import lab
from lab.tasks.task import Task

GAMMAS, BALANCES = (0.0, 1.0, 2.0), (0.0, 1.0)
RAREST = 20
"""How many times fewer examples the rarest class has than the most frequent one."""
METRICS = ("accuracy", "balanced accuracy", "log loss", "calibrated log loss")
COMPARED = (
    ((1.0, 0.0), (0.0, 0.0)),
    ((2.0, 0.0), (0.0, 0.0)),
    ((1.0, 1.0), (0.0, 1.0)),
    ((2.0, 1.0), (0.0, 1.0)),
    ((0.0, 1.0), (0.0, 0.0)),
)
"""Gamma and balance of one, and of what it is compared with."""


def adult(data: Path, folder: Path) -> Task:
    """People of whom one in 21 earns more than 50,000: 4,000 to learn from, a fifth of them to
    validate by, and 4,000 to test on."""
    for split in ("train", "test"):
        rows = pd.read_csv(data / "tabular" / f"adult_{split}.csv")
        groups = [part for _, part in sorted(rows.groupby(rows.columns[-1]), key=lambda of: -len(of[1]))]
        counts = (4000 * RAREST // (RAREST + 1), 4000 // (RAREST + 1))
        chosen = [part.sample(count, random_state=0) for part, count in zip(groups, counts, strict=True)]
        pd.concat(chosen).sample(frac=1, random_state=0).to_csv(folder / f"{split}.csv", index=False)
    target = str(rows.columns[-1])
    return lab.Table(str(folder / "train.csv"), test_path=str(folder / "test.csv"), target=target)


def thinned(labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Row numbers, of each class as many as a long tail has: from `most` down to a twentieth."""
    random, classes = np.random.default_rng(0), np.unique(labels)
    counts = np.round(most * RAREST ** (-np.arange(len(classes)) / (len(classes) - 1))).astype(int)
    rows = [random.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, counts, strict=True)]
    return random.permutation(np.concatenate(rows))


def cifar(data: Path, folder: Path) -> Task:
    """Ten classes of 375 to 19 images, of which a fifth is validated on, and of 1,000 to 50 to test on."""
    for split, most in (("train", 375), ("test", 1000)):
        held = pd.read_parquet(data / "cifar10" / f"{split}.parquet")
        rows = thinned(held["label"].to_numpy(), most)
        pixels = [np.asarray(Image.open(io.BytesIO(held["img"].iloc[row]["bytes"])).convert("RGB")) for row in rows]
        np.savez(folder / f"{split}.npz", x=np.stack(pixels), y=held["label"].to_numpy()[rows])
    return lab.Images(str(folder / "train.npz"), test_path=str(folder / "test.npz"))


def digits(data: Path, folder: Path) -> Task:
    """Ten classes of 88 to 4 images of 8x8 pixels, of which a fifth is validated on, and as many to test on."""
    x, y = load_digits(return_X_y=True)
    halves = np.arange(len(y)) % 2
    for i, split in enumerate(("train", "test")):
        mine = np.flatnonzero(halves == i)
        rows = mine[thinned(y[mine], 88)]
        np.savez(folder / f"{split}.npz", x=(x[rows].reshape(-1, 8, 8) * 15.9).astype(np.uint8), y=y[rows])
    return lab.Images(str(folder / "train.npz"), test_path=str(folder / "test.npz"), flip=False)


WORKLOADS: dict[str, tuple[Callable[[Path, Path], Task], int, tuple[float, ...], int]] = {
    "adult, two classes 20 to 1": (adult, 6, (3e-3, 1e-2), 8),
    "digits, ten classes of 88 to 4": (digits, 20, (1e-2, 3e-2), 8),
    "CIFAR-10, ten classes of 375 to 19": (cifar, 10, (5e-3, 1.5e-2), 5),
}
"""By name: the task, epochs of a 1cycle, the rates, and at most so many seeds."""


def scores(fitted: Any) -> dict[str, float]:
    """The test scores, and the validation accuracy."""
    said = {}
    for split in ("valid", "test"):
        x, y = fitted.task.data(split)
        said[split] = np.asarray(fitted.predict(x), dtype=np.float64), y.numpy()
    (seen, of_seen), (p, y) = said["valid"], said["test"]
    classes = np.arange(p.shape[1])

    def loss(log10_t: float, p: NDArray[np.float64], y: NDArray[np.int64]) -> float:
        logits = np.log(np.clip(p, 1e-12, None)) / 10**log10_t
        softened = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        return float(log_loss(y, softened, labels=classes))

    log10_best = scipy.optimize.minimize_scalar(loss, bounds=(-1, 1), args=(seen, of_seen), method="bounded").x
    return {
        "valid": float(accuracy_score(of_seen, seen.argmax(1))),
        "accuracy": float(accuracy_score(y, p.argmax(1))),
        "balanced accuracy": float(balanced_accuracy_score(y, p.argmax(1))),
        "log loss": loss(0.0, p, y),
        "calibrated log loss": loss(float(log10_best), p, y),
    }


def measure(name: str, data: Path, seeds: int) -> list[dict[str, Any]]:
    """A row for each training."""
    make, epochs, rates, most = WORKLOADS[name]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        task = make(data, Path(folder))
        for seed in range(min(seeds, most)):
            for rate in rates:
                for gamma in GAMMAS:
                    for balance in BALANCES:
                        row = {"what": name, "gamma": gamma, "balance": balance, "max_lr": rate, "seed": seed}
                        asked: dict[str, Any] = {"focal_gamma": gamma, "balance": balance, "seed": seed, "quiet": True}
                        asked["execution"] = {"threads": 1}
                        fitted = lab.fit_one_cycle(task, rate, epochs=epochs, batch_size=32, **asked)
                        rows.append({**row, "epochs": epochs, **scores(fitted)})
    return rows


def of_best_rate(rows: list[dict[str, Any]], gamma: float, balance: float) -> list[dict[str, Any]]:
    mine = [row for row in rows if (row["gamma"], row["balance"]) == (gamma, balance)]
    rates = sorted({row["max_lr"] for row in mine})
    best = max(rates, key=lambda rate: statistics.mean(row["valid"] for row in mine if row["max_lr"] == rate))
    return sorted((row for row in mine if row["max_lr"] == best), key=lambda row: row["seed"])


def difference(one: list[dict[str, Any]], other: list[dict[str, Any]], metric: str) -> tuple[float, float]:
    """The mean difference, and how far its interval reaches to each side."""
    gains = [a[metric] - b[metric] for a, b in zip(one, other, strict=True)]
    gain, spread = statistics.mean(gains), statistics.stdev(gains)
    return gain, float(scipy.stats.t.ppf(0.975, len(gains) - 1)) * spread / len(gains) ** 0.5


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Focal loss where classes are rare",
        "",
        "Made by `studies/benchmarks/focal.py`, whose head is the plan: means of n seeds on the test split, and 95 %",
        "intervals (Student's t) of differences seed by seed. Accuracies are better where higher, losses where lower.",
        f"{listed(versions('lab', 'torch'))}; {machine()}.",
    ]
    beyond: dict[bool, list[str]] = {True: [], False: []}
    for name in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == name]
        seeds = len({row["seed"] for row in mine})
        lines += ["", f"## {name}, {mine[0]['epochs']} epochs, n = {seeds}", ""]
        lines.append(f"| gamma | balance | max_lr | {' | '.join(METRICS)} |")
        lines.append("|" + "---|" * (3 + len(METRICS)))
        for balance in BALANCES:
            for gamma in GAMMAS:
                best = of_best_rate(mine, gamma, balance)
                means = [f"{statistics.mean(row[metric] for row in best):.3f}" for metric in METRICS]
                lines.append(f"| {gamma:g} | {balance:g} | {best[0]['max_lr']:g} | {' | '.join(means)} |")
        lines += ["", f"| difference | {' | '.join(METRICS)} |", "|" + "---|" * (1 + len(METRICS))]
        for one, other in COMPARED:
            pair = of_best_rate(mine, *one), of_best_rate(mine, *other)
            said = "{} against {}".format(*(f"gamma {gamma:g}, balance {balance:g}" for gamma, balance in (one, other)))
            cells = []
            for metric in METRICS:
                gain, reach = difference(*pair, metric)
                cells.append(f"{gain:+.3f} ({gain - reach:+.3f} to {gain + reach:+.3f})")
                if abs(gain) > reach and one[0]:
                    better = (gain > 0) == ("loss" not in metric)
                    beyond[better].append(f"- {metric} {gain:+.3f} ({name.partition(',')[0]}: {said})")
            lines.append(f"| {said} | {' | '.join(cells)} |")
    for better, what in ((True, "better"), (False, "worse")):
        count = sum(1 for one, _ in COMPARED if one[0]) * len(METRICS) * len({row["what"] for row in rows})
        lines += ["", f"## Where focal loss is {what}: {len(beyond[better])} of {count} intervals", "", *beyond[better]]
    lines += [
        "",
        "Seen afterwards: on digits a temperature found on 60 validation rows makes the loss worse than none does, so",
        "the calibrated loss says little there.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", choices=WORKLOADS, nargs="*", default=[*WORKLOADS])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in arguments.only:
        rows += measure(name, arguments.data, arguments.seeds)
        keep(arguments.out, {"rows": rows}, page(rows))


if __name__ == "__main__":
    main()
