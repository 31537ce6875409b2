"""What does a second round on pseudo-labels gain where a tenth of the rows is labelled?

    python studies/benchmarks/pseudo_labels.py --data FOLDER [--seeds 3] [--out reports/pseudo_labels]

FOLDER holds tabular/adult_train.csv, tabular/adult_test.csv, cifar10/train.parquet and cifar10/test.parquet. A study of
a tenth of the training rows, drawn anew for each seed, comes before `lab study pseudo-label` on the others. The first
round, the second, and as many steps on the labels alone are scored on the same test rows, whatever is handed out.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measured import by_seed, listed, machine, versions
from scipy.stats import t as student_t

from lab.record.artefact import to_json
from lab.spec.study import parse_spec
from lab.study.pseudo_labels import pseudo_label
from lab.study.study import Study

SPACE: dict[str, dict[str, Any]] = {
    "max_lr": {"from": "bounds"},
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.6},
}
SHARE = 0.1
IMAGES = 5_000
WORKLOADS = {
    "adult, 10 % labelled": {
        "trials": 24,
        "epochs": 6,
        "final": 12,
        "batch": 64,
        "seeds": 3,
        "refit_seeds": 3,
        "sure": 0.9,
    },
    "CIFAR-10 part, 10 % labelled": {
        "trials": 8,
        "epochs": 8,
        "final": 20,
        "batch": 32,
        "seeds": 2,
        "refit_seeds": 1,
        "sure": 0.5,
    },
}
ADULT, CIFAR = WORKLOADS
FIRST, SECOND, ALONE, HANDED = "first round", "second round", "labels alone, as many steps", "handed out"


def task_of(name: str, data: Path, folder: Path, seed: int) -> tuple[dict[str, Any], Path]:
    """A task of the labelled tenth, and the file of the others."""
    if name == ADULT:
        rows = pd.read_csv(data / "tabular/adult_train.csv")
        labelled = rows.sample(frac=SHARE, random_state=seed)
        labelled.to_csv(folder / "labelled.csv", index=False)
        rows.drop(labelled.index).drop(columns="income").to_csv(folder / "others.csv", index=False)
        test = str((data / "tabular/adult_test.csv").resolve())
        task: dict[str, Any] = {
            "kind": "table",
            "path": str(folder / "labelled.csv"),
            "target": "income",
            "test_path": test,
        }
        return {**task, "split": {"seed": seed}}, folder / "others.csv"
    rows = pd.read_parquet(data / "cifar10/train.parquet").sample(IMAGES, random_state=seed)
    count = int(IMAGES * SHARE)
    rows[:count].to_parquet(folder / "labelled.parquet")
    rows[count:].to_parquet(folder / "others.parquet")
    test = str((data / "cifar10/test.parquet").resolve())
    task = {"kind": "images", "path": str(folder / "labelled.parquet"), "test_path": test, "size": 16}
    return {**task, "flip": True, "shift": 1, "split": {"seed": seed}}, folder / "others.parquet"


def run(name: str, data: Path, seed: int) -> dict[str, Any]:
    """A study, and its second round."""
    of = WORKLOADS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task, others = task_of(name, data, folder, seed)
        spec = {
            "name": "pseudo",
            "seed": seed,
            "task": task,
            "space": SPACE,
            "batch_size": of["batch"],
            "search": {"trials": of["trials"], "epochs": of["epochs"]},
            "confirm": {"several": 0},
            "final": {
                "epochs": of["final"],
                "snapshots": 1,
                "controls": "none",
                "seeds": of["seeds"],
                "refit_seeds": of["refit_seeds"],
            },
            "execution": {"engine": "local"},
        }
        study = Study.from_spec(parse_spec(spec), folder / "run")
        begin = time.process_time()
        study.run()
        middle = time.process_time()
        second = pseudo_label(study, others, confidence=of["sure"])
        seconds = {"study_cpu_s": middle - begin, "second_cpu_s": time.process_time() - middle}
        kept = to_json(second)
        return {**{key: kept[key] for key in kept if key not in ("members", "examples")}, **seconds}


def ways_of(run: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Test scores by way."""
    ways = {FIRST: run["first"]["test"], SECOND: run["test"], ALONE: run["ways"][-1]["test"]}
    return {**ways, HANDED: run["test"] if run["kept"] else run["first"]["test"]}


def interval(values: list[float]) -> str:
    """Mean, and the half of its 95 % interval by Student's t."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.4f}"
    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.4f} +- {half:.4f}"


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The report."""
    lines, about = [], []
    for name, runs in measured.items():
        scores = [ways_of(run) for run in runs]
        for way in (FIRST, SECOND, ALONE, HANDED):
            accuracy, nll = ([score[way][metric] for score in scores] for metric in ("accuracy", "nll"))
            more = interval([score[way]["accuracy"] - score[FIRST]["accuracy"] for score in scores])
            less = interval([score[way]["nll"] - score[FIRST]["nll"] for score in scores])
            each = ", ".join(f"{value:.4f}" for value in accuracy)
            beside = ("-", "-") if way == FIRST else (more, less)
            cells = [name, way, f"{statistics.mean(accuracy):.4f} ({each})", beside[0]]
            lines.append(f"| {' | '.join([*cells, f'{statistics.mean(nll):.4f}', beside[1]])} |")
        chosen = "; ".join(f"{run['chosen']}, {'kept' if run['kept'] else 'not kept'}: {run['why']}" for run in runs)
        sure = statistics.mean(run["pseudo_labelled"] / run["unlabelled"] for run in runs)
        seconds = [statistics.median(run[key] for run in runs) for key in ("second_cpu_s", "study_cpu_s")]
        about.append(
            f"- {name}: {100 * sure:.0f} % of the others were said with a probability of {runs[0]['confidence']}. "
            f"By seed: {chosen}. "
            f"{seconds[0]:.0f} CPU seconds beside the study's {seconds[1]:.0f}."
        )
    table, facts = "\n".join(lines), "\n".join(about)
    return f"""# A second round on pseudo-labels

Made by `studies/benchmarks/pseudo_labels.py`, n = {max(map(len, measured.values()))} seeds, each with its own labelled
tenth; {listed(versions("lab", "torch", "scikit-learn"))}; {machine()}, {torch.get_num_threads()} thread(s).
The first round is what the study hands out: nets, and trees where they surely helped. The second round's nets learn
labelled and surely predicted rows, half of a batch each; the labels alone are learned for as many steps. All are
trained on training and validation rows at last. Differences have 95 % intervals over seeds (Student's t).

| data | way | test accuracy (seeds) | more than the first round | negative log-likelihood | more than the first round |
|---|---|---|---|---|---|
{table}

{facts}
"""


if __name__ == "__main__":
    by_seed(__doc__, WORKLOADS, 3, run, page)
