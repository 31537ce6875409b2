"""MiniLM trained whole on 10,000 texts of SST-2, by lab and by transformers' Trainer.

    python studies/benchmarks/text_whole.py --data FOLDER --body FOLDER [--trainer PYTHON] [--seeds 1] \
        [--only lab trainer study] [--out reports/text/whole]

The texts are the whole sentences of sst2_train.tsv and, up to so many, phrases of 4 to 12 words; validation and test
are as they come. PYTHON is one that has transformers with accelerate. Each is one training of three epochs in batches
of 32, in bfloat16, on one thread; seconds are those of the processor for the training and its validations. Rates are
given, not searched: of lab 1e-3 for the head and a tenth of it for the body, of Trainer 5e-5. `study` is a small study:
two rates of an epoch each, two final models of three epochs, and two more on training and validation together, which
are what it hands out. With `--only` the other rows stay as result.json has them, and so does what was written below
the table.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from text import cpu_s, read_before, run, sentences_of

LAB, TRAINER, STUDY = "lab", "transformers' Trainer", "lab, what a small study hands out"
WAYS = {"lab": LAB, "trainer": TRAINER, "study": STUDY}
RATES = {LAB: 1e-3, TRAINER: 5e-5}
_TEXTS, _EPOCHS, _BATCH, _DIVISOR = 10_000, 3, 32, 10.0


def write_texts(data: Path, folder: Path, count: int) -> None:
    """So many texts to train on, whole sentences first; validation and test beside them."""
    whole = set(sentences_of(data).splitlines())
    rows = (data / "sst2_train.tsv").read_text().splitlines()[1:]
    is_whole = [" ".join(row.split("\t")[0].split()) in whole for row in rows]
    chosen = [row for row, yes in zip(rows, is_whole, strict=True) if yes][:count]
    others = [r for r, yes in zip(rows, is_whole, strict=True) if not yes and 4 <= len(r.split("\t")[0].split()) <= 12]
    drawn = random.Random(0)
    chosen += drawn.sample(others, count - len(chosen))
    drawn.shuffle(chosen)
    (folder / "sst2_train.tsv").write_text("\n".join(["sentence\tlabel", *chosen]) + "\n")
    for split in ("dev", "test"):
        shutil.copy(data / f"sst2_{split}.tsv", folder)


def task_of(folder: Path, body: Path) -> dict[str, Any]:
    """MiniLM, trained whole."""
    files = {"path": "train", "valid_path": "dev", "test_path": "test"}
    paths = {name: str(folder / f"sst2_{split}.tsv") for name, split in files.items()}
    return {"kind": "text", "text": "sentence", "model": "hf:", "weights": str(body), **paths}


def run_study(folder: Path, body: Path, seed: int) -> dict[str, Any]:
    """A study, in this process."""
    spec = {
        "name": "sst2-whole",
        "seed": seed,
        "task": task_of(folder, body),
        "space": {"max_lr": {"low": RATES[LAB] / 2, "high": RATES[LAB], "log": True}},
        "schedule": {"one": {"kind": "one_cycle", "lr_divisor": _DIVISOR}},
        "batch_size": _BATCH,
        "search": {"trials": 2, "epochs": 1},
        "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
        "final": {"epochs": _EPOCHS, "seeds": 2, "snapshots": 1, "refit_seeds": 2, "controls": "none"},
        "execution": {"engine": "local", "threads": 1, "precision": "bf16"},
    }
    figures = run(spec)
    return {"test": figures["accuracy"], "valid": None, **figures}


def run_lab(folder: Path, body: Path, seed: int) -> dict[str, Any]:
    """One training by lab, in this process."""
    import lab

    task, execution = task_of(folder, body), {"threads": 1, "precision": "bf16"}
    before = cpu_s()
    fitted = lab.fit_one_cycle(
        task,
        RATES[LAB],
        epochs=_EPOCHS,
        batch_size=_BATCH,
        seed=seed,
        execution=execution,
        quiet=True,
        weight_decay=0.01,
        dropout=0.1,
        lr_divisor=_DIVISOR,
    )
    used_s = cpu_s() - before
    return {**{split: fitted.scores(split)["accuracy"] for split in ("valid", "test")}, "cpu_s": used_s}


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The report."""
    from measured import listed, machine, versions

    lines = []
    for name, runs in measured.items():
        tests = [run["test"] for run in runs]
        spread = f" ({min(tests):.4f} to {max(tests):.4f})" if len(tests) > 1 else ""
        valid = [run["valid"] for run in runs if run["valid"] is not None]
        judged, seconds = (
            f"{statistics.mean(valid):.4f}" if valid else "-",
            statistics.mean(run["cpu_s"] for run in runs),
        )
        lines.append(f"| {name} | {statistics.mean(tests):.4f}{spread} | {judged} | {seconds:.0f} | {len(runs)} |")
    body = "\n".join(lines)
    return f"""# {_TEXTS:,} texts: MiniLM trained whole

Made by `studies/benchmarks/text_whole.py`: all whole sentences of the training phrases of SST-2 and phrases of 4 to 12
words, {_TEXTS:,} texts together; {_EPOCHS} epochs in batches of {_BATCH}, in bfloat16, on one thread. The rates were
given, not searched: {RATES[LAB]:g} for lab's head and a tenth of it for the body, {RATES[TRAINER]:g} for Trainer. The
872 test sentences have a standard error of .010 at .90, the 6,735 validation phrases one of .004.
{listed(versions("lab", "torch", "tokenizers", "transformers"))}; {machine()}.

| trained by | test accuracy | validation accuracy | CPU seconds | seeds |
|---|---|---|---|---|
{body}
"""


def main() -> None:
    """Both, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--trainer", type=Path, metavar="PYTHON", help="one that has transformers with accelerate")
    parser.add_argument("--only", choices=WAYS, nargs="*", default=[*WAYS], metavar="WAY")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        made = run_study if "study" in arguments.only else run_lab
        print(json.dumps(made(arguments.data, arguments.body, arguments.seed)))
        return
    from measured import keep

    here = Path(__file__).resolve()
    measured, below = read_before(arguments.out) if len(arguments.only) < len(WAYS) else ({}, "")
    for way in arguments.only:
        measured.pop(WAYS[way], None)
    with tempfile.TemporaryDirectory() as folder:
        write_texts(arguments.data, Path(folder), _TEXTS)
        for seed in range(arguments.seeds):
            own = [sys.executable, str(here), "--data", folder, "--body", str(arguments.body), "--seed", str(seed)]
            peer = [str(arguments.trainer), str(here.with_name("text_peers.py")), "trainer", folder, "--bf16"]
            peer += ["--body", str(arguments.body), "--seed", str(seed), "--rate", str(RATES[TRAINER])]
            commands = {
                "lab": [*own, "--only", "lab"],
                "trainer": [*peer, "--epochs", str(_EPOCHS)],
                "study": [*own, "--only", "study"],
            }
            for way in arguments.only:
                if way == "trainer" and arguments.trainer is None:
                    continue
                name = WAYS[way]
                done = subprocess.run(commands[way], stdout=subprocess.PIPE, text=True, check=True)
                measured.setdefault(name, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(name, seed, measured[name][-1], flush=True)
                keep(arguments.out, measured, page(measured) + below)


if __name__ == "__main__":
    main()
