"""The task `language_model`: windows of a stream, perplexity by known answers, later texts, what is refused."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.errors import LabError
from lab.tasks.checks import contract_suite
from lab.tasks.text.language_model import LanguageModel, accuracy, perplexity
from lab.tasks.text.options import MOST_TOKENS, LanguageOptions
from lab.tasks.text.stream import FittedLanguage, Stream, each_text, in_windows
from lab.tasks.text.task import Text
from lab.tasks.text.tokens import Tokens, learned
from tests.own_data import reviews, write_texts


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_texts(tmp_path / "texts.csv"))


def test_it_keeps_the_contract(path: str):
    task = LanguageModel(path, window=12, width=8)
    points = list(contract_suite(task, {"dropout": 0.1, "weight_dropout": 0.3, "width": 4, "units": 5, "layers": 1}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []
    assert (task.kind, task.metric, task.direction) == ("regression", "perplexity", "minimize")
    assert pickle.loads(pickle.dumps(task)).options == task.options


def test_texts_stand_behind_each_other_with_ends_between_them(path: str):
    stream, task = Stream(LanguageOptions(path)), LanguageModel(path, window=9)
    codes, fitted = stream.codes("train", stream.fitted), stream.fitted
    texts = stream.texts("train")
    assert (codes == 0).sum() == len(texts) + 1
    assert len(codes) == Tokens(fitted.tokens).lengths(texts).sum() + len(texts) + 1
    x, y = task.data("train")
    assert torch.equal(x[:, 1:], y)
    assert torch.equal(x[1:, 0], x[:-1, -1])  # a window begins with what the one before has said last
    assert torch.equal(torch.cat([x[:1, 0], y.flatten()])[: len(codes)], torch.from_numpy(codes))


def test_a_text_of_100_000_tokens_is_read_whole_and_empty_ones_are_left_out():
    tokens = learned(["a good film", "a bad film", "good"], "words", 100)
    stream = tokens.stream(["film " * 100_000, "", " ", "a"])
    assert len(stream) == 100_000 + 1 + 3
    assert len(tokens.stream(["x" * 2_500_000])) == 2 + 3  # of more characters than are looked at at once
    windows = in_windows(stream, 70)
    assert in_windows(stream[:5], 70).flags.writeable  # as PyTorch wants it
    assert windows.shape == (math.ceil(100_003 / 70), 71)
    assert (windows[-1] == -1).sum() == 70 * len(windows) - 100_003
    assert tokens.text(stream[-3:].tolist()) == "a"


def test_later_texts_are_windows_of_their_own():
    tokens = learned(["a good film", "a bad film", "good"], "words", 100)
    windows, cut = each_text(["a", "", "good film"], tokens)
    a, film, good = (int(tokens.codes([word], 1)[0][0, 0]) for word in ("a", "film", "good"))
    assert windows.tolist() == [[0, a, 0, -1], [0, 0, -1, -1], [0, good, film, 0]]
    assert cut == 0
    windows, cut = each_text(["film " * 100_000, "a"], tokens)
    assert (windows.shape, cut) == ((2, MOST_TOKENS + 2), 1)
    assert windows[0, -2:].tolist() == [film, -1]
    assert each_text([""], tokens)[0].tolist() == [[0, 0, -1]]


def test_metrics_are_over_all_tokens():
    target = torch.tensor([[3, 4, -1], [5, -1, -1]])
    probability = torch.tensor([[0.5, 0.25, 0.9], [0.125, 0.1, 0.9]])
    output = torch.stack([probability, torch.tensor([[1.0, 0, 1], [0, 1, 1]])], dim=1)
    assert float(perplexity(output, target)) == pytest.approx((0.5 * 0.25 * 0.125) ** (-1 / 3))
    assert float(accuracy(output, target)) == pytest.approx(1 / 3)
    assert math.isfinite(float(perplexity(torch.zeros(2, 2, 3), target)))
    uniform = torch.full((2, 2, 3), 1 / 40)
    assert float(perplexity(uniform, target)) == pytest.approx(40, rel=1e-5)


def test_the_loss_of_a_window_is_the_mean_of_its_tokens(path: str):
    task = LanguageModel(path)
    target = torch.tensor([[3, 4, -1], [5, 6, 7]])
    output = torch.stack([torch.tensor([[0.5, 0.25, 0.9], [0.1, 0.1, 0.1]]), torch.zeros(2, 3)], dim=1)
    assert task.loss(output, target).tolist() == pytest.approx([-math.log(0.125) / 2, math.log(10)])


def test_the_mean_of_models_has_no_larger_loss_than_their_mean(path: str):
    task, target = LanguageModel(path), torch.tensor([[3, 4, 5]])
    one, other = (torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mean = task.predict((one + other) / 2)
    assert task.loss(mean, target) < (task.loss(one, target) + task.loss(other, target)) / 2


def test_test_texts_are_never_learned_of_and_are_those_of_a_classifier_with_the_same_split(path: str):
    task, other = LanguageModel(path, target="label"), Text(path)
    for split in ("train", "valid", "test"):
        assert task._stream.texts(split) == other._corpus.texts(split)
    fitted = LanguageModel(path, target="label").fitted()
    assert fitted["seen"] == task.fitted()["seen"]
    changed = reviews()
    changed.loc[task._stream.rows["test"], "text"] = "unheard words unheard words"
    again = LanguageModel(str(write_texts(Path(path).with_name("changed.csv"), changed)), target="label")
    assert again.fitted() == fitted
    assert torch.equal(again.data("train")[0], task.data("train")[0])


def test_texts_may_be_lines_or_files_without_classes(tmp_path: Path):
    texts = reviews()["text"]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    of_lines = LanguageModel(str(tmp_path / "lines.txt"))
    folder = tmp_path / "files"
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number:02}.txt").write_text(text)
    assert torch.equal(LanguageModel(str(folder)).data("train")[0], of_lines.data("train")[0])
    by_class = tmp_path / "classes"
    for number, (text, label) in enumerate(zip(texts, reviews()["label"], strict=True)):
        (by_class / label).mkdir(parents=True, exist_ok=True)
        (by_class / label / f"{number:02}.txt").write_text(text)
    assert len(LanguageModel(str(by_class))._stream.texts("train")) == 54


def test_later_texts_are_told_their_perplexity(path: str, tmp_path: Path):
    fitted = json.loads(json.dumps(LanguageModel(path).fitted()))
    task = LanguageModel("/no/longer/there.csv")
    task.restore(fitted)
    (tmp_path / "new.txt").write_text("It is great\na\n")
    inputs = task.read(tmp_path / "new.txt")
    assert inputs.y is not None
    assert len(inputs.x) == 2
    columns = task.readable(torch.full((2, 2, inputs.y.shape[1]), 0.25), inputs.y)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "perplexity": [4.0, 4.0],
        "accuracy": [0.25] * 2,
    }
    assert torch.equal(task.prepare(np.array(["It is great", "a"])), inputs.x)
    for raw in (["It is great", "a"], pd.DataFrame({"text": ["It is great", "a"]})):
        assert torch.equal(task.accept(raw).x, inputs.x)
    with pytest.raises(LabError, match="a int is no text; give a list of str"):
        task.accept(["a", 3])
    with pytest.raises(LabError, match=r"x\.csv: has no column 'text'$"):
        task.read(write_texts(tmp_path / "x.csv", pd.DataFrame({"words": ["a"]})))


def test_what_is_there_is_described(path: str):
    said = LanguageModel(path, window=10).describe()
    facts = "\n".join(said.facts)
    assert "texts 54 train, 18 valid, 18 test (split: random)" in facts
    assert "training windows of 10 tokens, each of which begins without a state" in facts
    assert "always saying the training tokens' shares has perplexity 2" in facts
    assert said.train_examples == len(LanguageModel(path, window=10).data("train")[0])


@pytest.mark.parametrize(
    ("frame", "options", "line"),
    [
        ({"text": ""}, {}, r"all training texts are empty$"),
        ({"text": [f"w{n}" for n in range(90)]}, {}, r"no two different tokens that repeat"),
        ({}, {"text": "txt"}, r"task\.text: there is no column 'txt' \(did you mean 'text'\?\)"),
        ({}, {"target": "text"}, r"task\.text: 'text' is the target as well$"),
        ({}, {"window": 1}, r"task\.window: 1 is not a whole number from 4 to 8192$"),
        ({}, {"split": {"kind": "random", "folds": 3}}, r"task\.split\.folds: are not for a language model"),
        ({}, {"split": "stratified"}, r"task\.split\.kind: 'stratified' needs classes; use 'random'$"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_a_line(
    frame: dict[str, Any], options: dict[str, Any], line: str, tmp_path: Path
):
    path = write_texts(tmp_path / "t.csv", reviews().assign(**frame))
    with pytest.raises(LabError, match=line) as refused:
        Stream(LanguageOptions(str(path), **options)).describe()
    assert "\n" not in str(refused.value)


def test_a_split_whose_texts_are_empty_is_refused(path: str, tmp_path: Path):
    empty = write_texts(tmp_path / "empty.csv", pd.DataFrame({"text": ["", " "], "label": ["a", "b"]}))
    with pytest.raises(LabError, match=r"^all valid texts are empty$"):
        LanguageModel(path, valid_path=str(empty)).describe()


def test_what_was_fitted_is_read_defensively():
    with pytest.raises(LabError, match=r"what was fitted to the texts is damaged \('tokens'\)"):
        FittedLanguage.load({})


def test_nothing_will_be_lacking_beside_it(path: str):
    from lab.stages.rehearsal import rehearse

    assert rehearse(LanguageModel(path, window=8, width=4, layers=1), {}) == ()
