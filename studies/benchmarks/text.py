"""SST-2: studies of texts by every kind of net, beside logistic regression on tf-idf.

    python studies/benchmarks/text.py --data FOLDER [--body FOLDER] [--fastai PYTHON] [--seeds 1] [--only NET ...] \
        --out reports/text
    python studies/benchmarks/text.py --data FOLDER --body FOLDER --seeds 3 --few 1000 --out reports/text/few

FOLDER holds sst2_train.tsv, sst2_dev.tsv and sst2_test.tsv (columns sentence and label); they are trained, validated
and tested on as they come. The body is a folder of Hugging Face's `transformers`, all-MiniLM-L6-v2 for instance;
without it its row is left out. PYTHON is one that has fastai. With `--only` the rows of other nets stay as result.json
has them, and so does what was written below the table. Each study is a process of its own. Seconds are those of the
processor, so that other work on the machine changes them little.

With `--few` no studies are run: of so many whole sentences the body's head learns alone, with adapters in the body, and
with all of the body, in trainings of two epochs on one thread, a process each. The rate of each way is that of two
which is best on validation sentences with seed 0.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NETS: dict[str, dict[str, Any]] = {
    "bag of embeddings": {"model": "bag"},
    "CNN": {"model": "cnn", "width": 48},
    "transformer": {"model": "transformer", "width": 32, "layers": 1},
    "frozen body, new head": {"model": "hf:", "train": "head"},
    "AWD-LSTM from a language model (ULMFiT)": {"model": "awd_lstm", "hidden": 50},
    "AWD-LSTM from a language model, 1cycle": {"model": "awd_lstm", "hidden": 50},
    "AWD-LSTM from nothing": {"model": "awd_lstm", "width": 128, "layers": 1, "hidden": 50},
}
FROZEN = "frozen body, new head"
ULMFIT, ONE_CYCLE = "AWD-LSTM from a language model (ULMFiT)", "AWD-LSTM from a language model, 1cycle"
NOTHING = "AWD-LSTM from nothing"
FASTAI = "fastai's text learner, as its documentation has it"
_SHORT = {
    "search": {"trials": 1, "epochs": 1, "sampler": {"kind": "random"}},
    "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
}
"""For a language model, which is judged by the classifiers that begin with it."""
_SLOW: dict[str, Any] = {
    "bounds": {"steps": 400},  # within 100 the loss of a CNN does not fall
    "search": {"trials": 8, "epochs": 1},
    "confirm": {"one_cycle": 2, "several": 0, "seeds": 2},
    "final": {"epochs": 4, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
}
"""For nets of which an epoch costs as much as ten or twenty of the bag."""
_SEVERAL = {"final": {**_SLOW["final"], "seeds": 3, "refit_seeds": 3}}
"""Final models of the recurrent nets, which are joined as a study's usually are."""
_AS_LONG = {"search": {"trials": 16, "epochs": 2}}
"""What a net from nothing has beside that: about what a language model costs."""


def spec_of(net: str, data: Path, body: Path | None, seed: int) -> dict[str, Any]:
    """The study of a net; all have the same search."""
    task = {
        "kind": "text",
        "path": str(data / "sst2_train.tsv"),
        "valid_path": str(data / "sst2_dev.tsv"),
        "test_path": str(data / "sst2_test.tsv"),
        "text": "sentence",
        **NETS[net],
    }
    dropped: dict[str, Any] = {"word_dropout": {"low": 0.0, "high": 0.4}}
    if net == FROZEN:
        task["weights"], dropped = str(body), {"hidden": {"choice": [0, 256]}}
    return {
        "name": "sst2",
        "seed": seed,
        "task": task,
        "space": {
            "max_lr": {"from": "bounds"},
            "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
            "dropout": {"low": 0.0, "high": 0.6},
            **dropped,
        },
        "batch_size": 256,
        "search": {"trials": 16, "epochs": 3},
        "confirm": {"several": 0},
        "final": {"epochs": 4, "seeds": 3, "snapshots": 1},
        "execution": {"engine": "local"},
        **(_SLOW if net in ("CNN", "transformer") else {}),
    }


def spec_of_lstm(net: str, data: Path, seed: int, language_model: Path) -> dict[str, Any]:
    """The study of an AWD-LSTM, which begins with the language model of a folder or with nothing."""
    spec = spec_of(net, data, None, seed) | _SLOW | _SEVERAL
    space: dict[str, Any] = {
        "max_lr": {"low": 0.004, "high": 0.04, "log": True},
        "dropout": {"low": 0.05, "high": 0.5},
    }
    if net == NOTHING:
        return spec | _AS_LONG | {"space": space}
    spec["task"]["from_study"] = str(language_model)
    if net == ULMFIT:
        spec["schedule"] = {"one": {"kind": "fine_tune", "gradual": True}}
        space["lr_divisor"] = {"choice": [1.3, 2.6]}
    return spec | {"space": space}


def spec_of_language_model(sentences: Path, tokenizer: Path, seed: int) -> dict[str, Any]:
    """The study of what a classifier begins with, by the tokens that the classifier would learn by itself."""
    return _SHORT | {
        "name": "sst2-language-model",
        "seed": seed,
        "task": {
            "kind": "language_model",
            "path": str(sentences),
            "tokenizer": str(tokenizer),
            "split": {"kind": "random", "valid": 0.1, "test": 0.05},
            "width": 128,
            "layers": 1,
        },
        "space": {"max_lr": {"low": 0.005, "high": 0.02, "log": True}, "dropout": {"low": 0.1, "high": 0.4}},
        "batch_size": 32,
        "final": {"epochs": 10, "seeds": 1, "snapshots": 1, "refit": False, "controls": "none"},
        "execution": {"engine": "local"},
    }


def sentences_of(data: Path) -> str:
    """The sentences, a line each, whose phrases train and validate: those phrases that are part of no other."""
    files = [data / f"sst2_{split}.tsv" for split in ("train", "dev")]
    rows = {tuple(row.split("\t")[0].split()) for file in files for row in file.read_text().splitlines()[1:]}
    parts: set[tuple[str, ...]] = set()
    lines = []
    for row in sorted(rows, key=lambda row: (-len(row), row)):
        if row not in parts:
            lines.append(" ".join(row))
            parts |= {row[i:j] for i in range(len(row)) for j in range(i + 1, len(row) + 1)}
    return "\n".join(sorted(lines))


def run_lstm(net: str, data: Path, seed: int, models: Path) -> dict[str, Any]:
    """The study of an AWD-LSTM, and before it that of the language model, if it begins with one.

    Args:
        models: a folder where language models lie; one that is not there is trained, and its seconds noted.
    """
    from lab.spec.study import parse_spec
    from lab.study.study import Study
    from lab.tasks.text.tokens import learned

    model, seconds = models / f"model-{seed}", models / f"model-{seed}.s"
    if net == NOTHING:
        return run(spec_of_lstm(net, data, seed, model))
    if not seconds.exists():
        sentences = models / "sentences.txt"
        sentences.write_text(sentences_of(data))
        tokenizer = models / "tokenizer.json"
        phrases = [row.split("\t")[0] for row in (data / "sst2_train.tsv").read_text().splitlines()[1:]]
        tokenizer.write_text(learned(phrases, "words", 20_000).dump())
        Study.from_spec(parse_spec(spec_of_language_model(sentences, tokenizer, seed)), model).run()
        seconds.write_text(f"{cpu_s():.0f}")
        used_s = 0.0
    else:
        used_s = float(seconds.read_text())
    handed = Study.open(model).result.summary.handed
    assert handed is not None
    figures = run(spec_of_lstm(net, data, seed, model))
    said = f"language model: test perplexity {handed.score:.4g}, {seconds.read_text()} s of these"
    return figures | {"cpu_s": figures["cpu_s"] + used_s, "language_model": said}


WAYS: dict[str, tuple[dict[str, Any], float, tuple[float, ...]]] = {
    "the head alone": ({"train": "head"}, 1.0, (3e-3, 1e-2)),
    "adapters of rank 8 in attention": ({"adapter": {"rank": 8}}, 1.0, (3e-3, 1e-2)),
    "the whole body": ({}, 10.0, (1e-3, 3e-3)),
}
"""What a spec says of each way, how far the body's rate lies below the head's, and the head's rates that are tried."""
FEW_EPOCHS, FEW_BATCH, FEW_TOKENS, FEW_VALID = 2, 32, 32, 250


def write_few(data: Path, folder: Path, count: int) -> None:
    """So many whole sentences to train on, and others to validate on, each with its class; the test sentences."""
    rows: dict[str, str] = {}
    for split in ("train", "dev"):
        rows |= dict(row.split("\t") for row in (data / f"sst2_{split}.tsv").read_text().splitlines()[1:])
    sentences = set(sentences_of(data).splitlines())
    whole = [f"{line}\t{label}" for phrase, label in rows.items() if (line := " ".join(phrase.split())) in sentences]
    random.Random(0).shuffle(whole)
    for split, lines in (("train", whole[:count]), ("dev", whole[count : count + FEW_VALID])):
        (folder / f"sst2_{split}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    shutil.copy(data / "sst2_test.tsv", folder)


def run_few(way: str, data: Path, body: Path, rate: float, seed: int) -> dict[str, Any]:
    """One training of a way, in this process."""
    import lab

    options, divisor, _ = WAYS[way]
    task = spec_of("bag of embeddings", data, None, 0)["task"] | options
    task |= {"model": "hf:", "weights": str(body), "max_tokens": FEW_TOKENS}
    setting: dict[str, Any] = {"batch_size": FEW_BATCH, "seed": seed, "execution": {"threads": 1}, "dropout": 0.1}
    before = cpu_s()
    fitted = lab.fit_one_cycle(task, rate, epochs=FEW_EPOCHS, quiet=True, lr_divisor=divisor, **setting)
    used_s, peak = cpu_s() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    numbers = sum(p.numel() for p in fitted.model.parameters() if p.requires_grad)
    figures = {split: fitted.scores(split)["accuracy"] for split in ("valid", "test")}
    return {**figures, "cpu_s": used_s, "peak_gb": peak, "trained": numbers}


def few_page(measured: dict[str, dict[str, list[dict[str, Any]]]], count: int) -> str:
    """The report of few sentences."""
    from measured import listed, machine, versions

    lines = []
    for way, by_rate in measured.items():
        rate, runs = max(by_rate.items(), key=lambda item: item[1][0]["valid"])
        tests = [one["test"] for one in runs]
        spread = f"{statistics.mean(tests):.4f} ({min(tests):.4f} to {max(tests):.4f})"
        seconds, peak = statistics.median(one["cpu_s"] for one in runs), max(one["peak_gb"] for one in runs)
        tried = ", ".join(f"{float(r):g}: {of[0]['valid']:.3f}" for r, of in by_rate.items())
        lines.append(f"| {way} | {runs[0]['trained']:,} | {spread} | {seconds:.0f} | {peak:.2f} | {rate} | {tried} |")
    seeds = max(len(runs) for by_rate in measured.values() for runs in by_rate.values())
    body = "\n".join(lines)
    return f"""# Few sentences: a head, adapters, or the whole body

Made by `studies/benchmarks/text.py --few {count}`: {count} whole sentences of SST-2 to train on, {FEW_VALID} to choose
the rate by (seed 0), {seeds} seeds of the chosen rate on the 872 test sentences, of which the standard error is .013.
Each is one training of {FEW_EPOCHS} epochs of 1cycle, batches of {FEW_BATCH}, texts cut after {FEW_TOKENS} tokens; the
whole body's rate lies a factor 10 below its head's.
{listed(versions("lab", "torch", "tokenizers", "transformers"))}; {machine()}.

| what learns | parameters | test accuracy (least to most) | CPU seconds | peak GB | max_lr | validation by max_lr |
|---|---|---|---|---|---|---|
{body}
"""


def few(arguments: argparse.Namespace) -> None:
    """Every way, rate and seed in turn."""
    from measured import keep

    measured: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_few(arguments.data, Path(folder), arguments.few)

        def run_one(way: str, rate: float, seed: int) -> None:
            command = [
                sys.executable,
                str(Path(__file__).resolve()),
                "--data",
                folder,
                "--way",
                way,
                "--seed",
                str(seed),
            ]
            command += ["--rate", str(rate), "--body", str(arguments.body)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            figures = json.loads(done.stdout.strip().splitlines()[-1])
            measured.setdefault(way, {}).setdefault(f"{rate:g}", []).append(figures)
            print(way, rate, seed, figures, flush=True)

        for way, (_, _, rates) in WAYS.items():
            for rate in rates:
                run_one(way, rate, 0)
            best = max(rates, key=lambda rate: measured[way][f"{rate:g}"][0]["valid"])
            for seed in range(1, arguments.seeds):
                run_one(way, best, seed)
            keep(arguments.out, measured, few_page(measured, arguments.few))


def cpu_s() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """A whole study, in this process."""
    from lab.record.artefact import to_json
    from lab.spec.study import parse_spec
    from lab.study.study import Study

    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(parse_spec(spec), Path(folder) / "run")
        result = study.run()
        used_s = cpu_s()
        chosen = json.loads((study.record.folder / "ensemble.json").read_text())
        setup = {setting["name"]: setting["value"] for setting in to_json(result.best)["settings"]}
        handed = result.summary.handed
        assert handed is not None
    rows = {control["name"]: control["test"]["accuracy"]["mean"] for control in chosen["controls"]}
    rows |= {b["name"]: (b.get("with_valid") or b["test"])["accuracy"] for b in chosen["baselines"]}
    return {"accuracy": handed.score, "cpu_s": used_s, "rows": rows, "setup": setup}


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The report."""
    from measured import listed, machine, versions

    lines = []
    for net, runs in measured.items():
        beside: dict[str, list[float]] = {}
        for one in runs:
            for name, accuracy in one["rows"].items():
                beside.setdefault(name, []).append(accuracy)
        shown = "; ".join(f"{name} {statistics.mean(values):.4f}" for name, values in beside.items())
        shown += f"; {runs[0]['language_model']}" if runs[0].get("language_model") else ""
        scores = [one["accuracy"] for one in runs]
        spread = f" ({min(scores):.4f} to {max(scores):.4f})" if len(scores) > 1 else ""
        seconds = statistics.median(one["cpu_s"] for one in runs)
        setup = ", ".join(f"{name} {value:.3g}" for name, value in runs[0]["setup"].items())
        lines.append(
            f"| {net} | {len(runs)} | {statistics.mean(scores):.4f}{spread} | {seconds:.0f} | {setup} | {shown} |"
        )
    body = "\n".join(lines)
    return f"""# Texts: SST-2

Made by `studies/benchmarks/text.py`.
{listed(versions("lab", "torch", "tokenizers", "transformers", "scikit-learn"))}; {machine()}.
Accuracy on the 872 test sentences, of which the standard error is .013; 60,614 phrases are trained on, 6,735 validate.
Scores are means over n seeds (least to most), seconds those of the processor for the whole study, their median.

| net | n | what the study hands out | CPU seconds | setup of seed 0 | beside it |
|---|---|---|---|---|---|
{body}
"""


def read_before(out: Path | None) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """The rows that were measured before, and what was written below their table."""
    from measured import written_below

    if out is None or not (out / "result.json").exists():
        return {}, ""
    return json.loads((out / "result.json").read_text()), written_below(out, "|")


def run_fastai(python: Path, data: Path, folder: Path) -> dict[str, Any]:
    """fastai's row, by another Python."""
    sentences = folder / "of-fastai.txt"
    sentences.write_text(sentences_of(data))
    peers = Path(__file__).resolve().with_name("text_peers.py")
    command = [str(python), str(peers), "fastai", str(data), "--sentences", str(sentences)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return of_fastai(json.loads(done.stdout.strip().splitlines()[-1]))


def of_fastai(figures: dict[str, Any]) -> dict[str, Any]:
    """What `text_peers.py` says, as a row."""
    said = {"accuracy": figures["test"], "rows": {"on the validation phrases": figures["valid"]}, "setup": {}}
    return {**said, "cpu_s": figures["cpu_s"], "language_model": figures["language_model"]}


def main() -> None:
    """Every net and seed in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--body", type=Path, help="a folder of transformers")
    parser.add_argument("--fastai", type=Path, metavar="PYTHON", help="one that has fastai")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=NETS, nargs="*", default=[*NETS], metavar="NET")
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--net", choices=NETS, help=argparse.SUPPRESS)
    parser.add_argument("--few", type=int, help="sentences to train on")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        options = arguments.data, arguments.body, arguments.rate, arguments.seed
        print(json.dumps(run_few(arguments.way, *options)))
        return
    if arguments.few:
        few(arguments)
        return
    if arguments.net:
        if arguments.net in (ULMFIT, ONE_CYCLE, NOTHING):
            figures = run_lstm(arguments.net, arguments.data, arguments.seed, arguments.models)
        else:
            figures = run(spec_of(arguments.net, arguments.data, arguments.body, arguments.seed))
        print(json.dumps(figures))
        return
    from measured import keep

    measured, below = read_before(arguments.out) if len(arguments.only) < len(NETS) else ({}, "")
    with tempfile.TemporaryDirectory() as models:
        if arguments.fastai:
            measured[FASTAI] = [run_fastai(arguments.fastai, arguments.data, Path(models))]
        for net in arguments.only:
            measured.pop(net, None)
            if net == FROZEN and arguments.body is None:
                continue
            for seed in range(arguments.seeds):
                command = [sys.executable, str(Path(__file__).resolve()), "--data", str(arguments.data), "--net", net]
                command += ["--seed", str(seed), "--models", models]
                command += ["--body", str(arguments.body)] if arguments.body else []
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                measured.setdefault(net, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(net, seed, measured[net][-1], flush=True)
                keep(arguments.out, measured, page(measured) + below)


if __name__ == "__main__":
    main()
