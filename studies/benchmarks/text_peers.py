"""Other libraries on the texts of a folder, each as its own documentation has it; needs no lab.

    PYTHON text_peers.py trainer FOLDER --body FOLDER [--seed 0] [--rate 5e-5] [--epochs 3] [--bf16]
    PYTHON text_peers.py fastai FOLDER --sentences FILE [--seed 0]

FOLDER holds sst2_train.tsv, sst2_dev.tsv and sst2_test.tsv. The last line that is printed is JSON. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

_BATCH = 32


def cpu_s() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rows_of(folder: Path, split: str) -> list[tuple[str, int]]:
    """A split's texts with their classes."""
    lines = (folder / f"sst2_{split}.tsv").read_text().splitlines()[1:]
    return [(text, int(label)) for text, label in (line.split("\t") for line in lines)]


def trainer(arguments: argparse.Namespace) -> dict[str, Any]:
    """`transformers.Trainer` on a sequence classifier, as its text classification guide has it, with warm-up."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.body)

    def encoded(split: str) -> Any:
        rows = rows_of(arguments.folder, split)
        return [{**tokenizer(text, truncation=True, max_length=128), "labels": label} for text, label in rows]

    def accuracy(said: Any) -> dict[str, float]:
        return {"accuracy": float((said.predictions.argmax(1) == said.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        asked = TrainingArguments(
            output_dir=folder,
            num_train_epochs=arguments.epochs,
            learning_rate=arguments.rate,
            per_device_train_batch_size=_BATCH,
            per_device_eval_batch_size=64,
            weight_decay=0.01,
            warmup_steps=0.1,  # a share of all steps
            save_strategy="no",
            report_to=[],
            seed=arguments.seed,
            use_cpu=True,
            bf16=arguments.bf16,
            disable_tqdm=True,
        )
        learner = Trainer(
            model=AutoModelForSequenceClassification.from_pretrained(arguments.body, num_labels=2),
            args=asked,
            train_dataset=encoded("train"),
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=accuracy,
        )
        before = cpu_s()
        learner.train()
        used_s = cpu_s() - before
        figures = {
            split: learner.evaluate(encoded(name))["eval_accuracy"]
            for split, name in (("valid", "dev"), ("test", "test"))
        }
    return {**figures, "cpu_s": used_s}


def fastai(arguments: argparse.Namespace) -> dict[str, Any]:
    """fastai's text learner: a language model of the sentences, then the classifier, unfrozen layer by layer; sizes
    are those of lab's nets, as there are no pretrained weights to have."""
    import pandas as pd
    from fastai.text.all import (
        AWD_LSTM,
        Perplexity,
        TextDataLoaders,
        accuracy,
        awd_lstm_clas_config,
        awd_lstm_lm_config,
        language_model_learner,
        set_seed,
        text_classifier_learner,
    )

    set_seed(arguments.seed)
    sizes = {"emb_sz": 128, "n_hid": 128, "n_layers": 1}
    sentences = pd.DataFrame({"text": arguments.sentences.read_text().splitlines()})
    parts = [pd.DataFrame(rows_of(arguments.folder, name), columns=["text", "label"]) for name in ("train", "dev")]
    both = pd.concat([part.assign(is_valid=number == 1) for number, part in enumerate(parts)])
    with tempfile.TemporaryDirectory() as folder:
        dls = TextDataLoaders.from_df(
            sentences, path=folder, text_col="text", is_lm=True, valid_pct=0.1, seed=0, bs=_BATCH, seq_len=70
        )
        learner = language_model_learner(
            dls, AWD_LSTM, config=awd_lstm_lm_config | sizes, drop_mult=0.3, pretrained=False, metrics=[Perplexity()]
        )
        learner.fit_one_cycle(10, 1e-2)
        perplexity = float(learner.validate()[1])
        learner.save_encoder("encoder")
        words = TextDataLoaders.from_df(
            both, path=folder, text_col="text", label_col="label", valid_col="is_valid", text_vocab=dls.vocab, bs=256
        )
        judge = text_classifier_learner(
            words, AWD_LSTM, config=awd_lstm_clas_config | sizes, drop_mult=0.5, pretrained=False, metrics=accuracy
        )
        judge.path = learner.path  # where the encoder lies
        judge.load_encoder("encoder")
        judge.freeze()
        judge.fit_one_cycle(1, 2e-2)
        judge.freeze_to(-2)
        judge.fit_one_cycle(1, slice(1e-2 / 2.6**4, 1e-2))
        judge.unfreeze()
        judge.fit_one_cycle(2, slice(1e-3 / 2.6**4, 1e-3))
        used_s = cpu_s()
        valid = float(judge.validate()[1])
        tests = pd.DataFrame(rows_of(arguments.folder, "test"), columns=["text", "label"])
        said, labels = judge.get_preds(dl=words.test_dl(tests, with_labels=True))
    return {
        "valid": valid,
        "test": float((said.argmax(dim=1) == labels).float().mean()),
        "cpu_s": used_s,
        "language_model": f"language model: perplexity {perplexity:.4g} on a tenth of its sentences",
    }


def main() -> None:
    """One training of one library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["trainer", "fastai"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--body", type=Path)
    parser.add_argument("--sentences", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    figures = trainer(arguments) if arguments.library == "trainer" else fastai(arguments)
    print("\n" + json.dumps(figures))  # progress has no end of line


if __name__ == "__main__":
    main()
