"""Layer-sequential unit variance beside a model's own initial weights and those of He, on nets that are deep.

    python studies/benchmarks/lsuv.py --data FOLDER [--seeds 5] [--only NAME ...] [--out reports/lsuv]

FOLDER holds `tabular/adult_train.csv`. Every net is trained with each of them at each of a few
rates, on the same seeds; the rate of each is chosen by its mean validation accuracy, and test accuracies are compared
seed by seed.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import scipy.stats
from measured import keep, listed, machine, versions
from torch import nn

import lab
from lab.tasks.digits import Digits
from lab.tasks.task import Task

HE = "he"
INITS = ("default", HE, "lsuv")

LIMITS = """
Nearly all that lsuv gains where there are no norms, weights by fan-in gain too (He et al. 2015, arXiv:1502.01852);
they need no batch, and the rest is half a point. The model's own weights are PyTorch's; with them the deep net
learned on some seeds, at the highest of the rates, and might on more at higher ones. With norms every interval holds
0, that of adult barely: there the model's own weights seem better by a point. Three rates, few seeds, one set of data
a net.
"""


class DeepDigits(Digits):
    """Twelve layers of 64 without norms."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        hidden = [part for _ in range(12) for part in (nn.Linear(64, 64), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(64, 10))


def of_he(task: Task) -> Task:
    """The same task, whose linear and convolutional weights are normal with variance 2 / fan-in, and whose biases are 0
    (He et al. 2015, arXiv 1502.01852, eq. 10)."""
    kind = type(task)

    class OfHe(kind):  # type: ignore[misc, valid-type]
        def model(self, params: Mapping[str, Any]) -> nn.Module:
            net: nn.Module = super().model(params)
            for layer in net.modules():
                if isinstance(layer, (nn.Linear, nn.Conv2d)):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
            return net

    made = copy.copy(task)
    made.__class__ = OfHe
    return made


def adult(data: Path, layers: int) -> Task:
    """4,000 rows of adult, drawn by a fixed seed, with the task's own net, made deep; it has norms."""
    rows = pd.read_csv(data / "tabular" / "adult_train.csv").sample(4000, random_state=0)
    path = Path(tempfile.mkdtemp()) / "adult.csv"
    rows.to_csv(path, index=False)
    return lab.Table(str(path), target=rows.columns[-1], layers=[64] * layers, bins=0)


WORKLOADS: dict[str, tuple[Callable[[Path], Task], int, tuple[float, ...]]] = {
    "digits, 12 layers without norms": (lambda data: DeepDigits(), 20, (1e-3, 3e-3, 1e-2)),
    "digits, the task's own net, with norms": (lambda data: Digits(), 15, (3e-3, 1e-2, 3e-2)),
    "4,000 rows of adult, 8 layers with norms": (lambda data: adult(data, 8), 8, (1e-3, 3e-3, 1e-2)),
}
"""By name: the task, epochs of a 1cycle, and the rates."""


def measure(name: str, data: Path, seeds: int) -> list[dict[str, Any]]:
    """A row for each training."""
    make, epochs, rates = WORKLOADS[name]
    plain, rows = make(data), []
    tasks = {init: of_he(plain) if init == HE else plain for init in INITS}
    for rate in rates:
        for seed in range(seeds):
            for init in INITS:
                row: dict[str, Any] = {"what": name, "init": init, "max_lr": rate, "seed": seed, "epochs": epochs}
                try:
                    more: Any = {} if init == HE else {"init": init}
                    fitted = lab.fit_one_cycle(tasks[init], rate, epochs=epochs, seed=seed, quiet=True, **more)
                    row |= {"valid": fitted.score, "test": fitted.scores("test")["accuracy"]}
                except lab.errors.StudyError as error:
                    row |= {"valid": 0.0, "test": 0.0, "failed": str(error)}
                rows.append(row)
    return rows


def of_best_rate(rows: list[dict[str, Any]], init: str) -> list[dict[str, Any]]:
    mine = [row for row in rows if row["init"] == init]
    rates = sorted({row["max_lr"] for row in mine})
    best = max(rates, key=lambda rate: statistics.mean(row["valid"] for row in mine if row["max_lr"] == rate))
    return sorted((row for row in mine if row["max_lr"] == best), key=lambda row: row["seed"])


def interval(plain: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> str:
    """The mean difference of test accuracies, seed by seed, with its 95 % interval."""
    gains = [b["test"] - a["test"] for a, b in zip(plain, drawn, strict=True)]
    reach = scipy.stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / len(gains) ** 0.5
    gain = statistics.mean(gains)
    return f"{gain:+.3f} ({gain - reach:+.3f} to {gain + reach:+.3f})"


def page(rows: list[dict[str, Any]], seeds: int) -> str:
    packages = listed(versions("lab", "torch"))
    lines = ["# Initial weights of layer-sequential unit variance, on deep nets", ""]
    lines += [
        f"Made by `studies/benchmarks/lsuv.py`: test accuracy, mean of n = {seeds} seeds, at the rate of each that"
    ]
    lines += [
        "is best on validation; difference seed by seed with its 95 % interval (Student's t). Trained by one 1cycle"
    ]
    lines += [f"of AdamW. {packages}; {machine()}.", ""]
    lines += [
        "| net | epochs | the model's own weights (max_lr) | He's (max_lr) | `init: lsuv` (max_lr) | lsuv - own | "
        "lsuv - He's |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["what"] for row in rows):
        of_each = {init: of_best_rate([row for row in rows if row["what"] == name], init) for init in INITS}
        shown = [f"{statistics.mean(row['test'] for row in of):.3f} ({of[0]['max_lr']:g})" for of in of_each.values()]
        shown += [interval(of_each[init], of_each["lsuv"]) for init in ("default", HE)]
        lines.append(f"| {name} | {of_each[HE][0]['epochs']} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n" + LIMITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=WORKLOADS, nargs="*", default=[*WORKLOADS])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in arguments.only:
        rows += measure(name, arguments.data, arguments.seeds)
        keep(arguments.out, {"rows": rows}, page(rows, arguments.seeds))


if __name__ == "__main__":
    main()
