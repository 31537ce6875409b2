"""A classifier that begins with a language model's study: ULMFiT's way, from one folder to the other."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lab.cli.main import main
from lab.errors import LabError
from lab.spec.plan import TaskRef
from lab.spec.study import parse_spec
from lab.study.model_folder import CARD, export_model
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.load import load_task
from lab.tasks.text.delivered import how_many, remembered
from lab.tasks.text.task import Text
from lab.tasks.text.tokens import learned
from tests.own_data import reviews, write_texts
from tests.small import small


def _run(folder: Path, task: dict[str, Any], **more: Any) -> Study:
    value = small(
        name=folder.name,
        task=task,
        space={"max_lr": {"low": 0.003, "high": 0.03, "log": True}, "dropout": {"low": 0.0, "high": 0.9}},
        batch_size=16,
        search={"trials": 1, "epochs": 1, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 1, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
        execution={"path": "auto", "width": 2, "threads": 1},
        **more,
    )
    study = Study.from_spec(parse_spec(value), folder)
    study.run()
    return study


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts and a finished study of a language model; its tests change copies of it."""
    folder = tmp_path_factory.mktemp("ulmfit")
    path = write_texts(folder / "texts.csv")
    _run(folder / "model", {"kind": "language_model", "path": str(path), "target": "label", "window": 4, "width": 8})
    return folder


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "model", tmp_path / "model"))


def _task(home: Path, study: Path | None = None, **options: Any) -> Text:
    return Text(str(home / "texts.csv"), model="awd_lstm", from_study=str(study or home / "model"), **options)


def _encoder(home: Path) -> dict[str, torch.Tensor]:
    file = json.loads((home / "model" / "refit.json").read_text())["members"][0]["file"]
    held = load_file(home / "model" / "refit" / file)
    return {f"body.{name}": tensor for name, tensor in held.items() if name.startswith("encoder.")}


@pytest.mark.parametrize("train", ["all", "head"])
def test_it_keeps_the_contract(train: str, home: Path):
    points = list(contract_suite(_task(home, train=train), {"dropout": 0.1, "hidden": 4}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []


def test_it_begins_with_the_weights_and_the_tokens_that_the_study_hands_out(home: Path):
    task, encoder = _task(home), _encoder(home)
    model = build_model(task, {"dropout": 0.3}, seed=0)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in encoder.items())
    assert task.fitted()["tokens"] == json.loads((home / "model" / "task.json").read_text())["fitted"]["tokens"]
    groups = task.groups(model)
    assert [group[0].split(".")[:4] for group in groups] == [
        ["body", "encoder", "embedding", "weight"],
        ["body", "encoder", "layers", "0"],
        ["body", "encoder", "layers", "1"],
        ["norm", "weight"],
    ]
    assert len(_task(home, layer_groups=2).groups(model)) == 2
    assert model.body.encoder.rates.weight == pytest.approx(0.15)  # type: ignore[union-attr]
    assert f"the net begins with the language model of {home / 'model'}, and has a new head" in task.describe().facts


def test_a_test_text_that_the_language_model_has_read_is_told(home: Path):
    assert not [line for line in _task(home).describe().warnings if "language model" in line]
    said = _task(home, split={"kind": "stratified", "seed": 1}).describe().warnings
    assert [line for line in said if "of 18 test texts were read by the language model, without what is said" in line]
    assert how_many(["A  b", "c", "a"], remembered(["a B", "c", "c"])) == 2


def test_a_classifier_s_folder_needs_the_language_model_no_more(
    home: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    task = {"kind": "text", "path": str(home / "texts.csv"), "model": "awd_lstm", "from_study": str(copied)}
    schedule = {"one": {"kind": "fine_tune", "gradual": True, "lr_divisor": 2.6}}
    study = _run(tmp_path / "run", task, schedule=schedule)
    capsys.readouterr()
    shutil.rmtree(copied)
    (tmp_path / "run" / "refit.json").unlink()
    Study.open(tmp_path / "run").run()
    (tmp_path / "new.txt").write_text("It is great\n\n")
    foreign = {"XDG_STATE_HOME": str(tmp_path / "another's")}
    for state in ({}, foreign):
        for name, value in state.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            sys, "argv", ["lab", "predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.txt")]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (None, 0)
        assert len(pd.read_csv(io.StringIO(capsys.readouterr().out))) == 2
    x = study.result.ensemble.read(tmp_path / "new.txt").x
    shutil.rmtree(tmp_path / "run" / "data")
    with pytest.raises(LabError, match=r"the study's folder lacks the weights of '.*model', and you have not begun it"):
        Study.open(tmp_path / "run").result.ensemble.predict(x)


def test_a_language_model_says_the_perplexity_of_later_texts(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "new.txt").write_text("It is great\na\n\n" + "film " * 100_000)
    command = ["lab", "predict", str(home / "model"), "--input", str(tmp_path / "new.txt")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    output = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(output.out))
    assert list(frame.columns) == ["perplexity", "accuracy"]
    assert len(frame) == 4
    assert (frame["perplexity"] > 1).all()
    assert "1 of 4 texts are cut after 8192 tokens" in output.err
    result = Study.open(home / "model").result
    export_model(result.ensemble, result.summary, tmp_path / "out", result.ensemble.test_data()[0])
    snippet = (tmp_path / "out" / CARD).read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path / "out")
    made: dict[str, Any] = {}
    exec(snippet, made)
    torch.testing.assert_close(made["values"], result.ensemble.predict(made["x"]), rtol=1e-5, atol=1e-6)
    examples = json.loads((home / "model" / "refit.json").read_text())["examples"]["most wrong"]
    assert examples[0]["said"].startswith("perplexity ")
    assert examples[0]["true"] == ""


def test_a_kept_study_goes_before_its_own_folder_unless_another_is_asked_for(home: Path, copied: Path, tmp_path: Path):
    first = _task(home, copied)
    first.cache = tmp_path / "data"
    fitted = json.loads(json.dumps(first.fitted()))
    shutil.rmtree(copied)
    again = _task(home, copied)
    again.cache = tmp_path / "data"
    assert json.loads(json.dumps(again.fitted())) == fitted
    other = _task(home)
    other.cache = tmp_path / "data"
    assert other._language_model.study == str(home / "model")


def test_a_study_from_elsewhere_reads_its_own_folder_alone(home: Path, tmp_path: Path):
    task = _task(home)
    task.cache = tmp_path / "data"
    fitted = dict(task.fitted())
    ref = TaskRef("text", dict(task.options), cache=str(tmp_path / "data"), foreign=True)
    later = load_task(ref)
    assert isinstance(later, Text)
    later.restore(fitted)
    later.model({})
    shutil.rmtree(tmp_path / "data")
    bare = load_task(ref)
    assert isinstance(bare, Text)
    bare.restore(fitted)
    with pytest.raises(LabError, match=r"the study's folder lacks the weights of '.*model', and you have not begun it"):
        bare.model({})


def _unfinished(study: Path) -> None:
    (study / "refit.json").unlink()


def _nothing_trained(study: Path) -> None:
    shutil.rmtree(study)
    study.mkdir()


def _of_classes(study: Path) -> None:
    (study / "task.json").write_text(json.dumps({"fitted": {"target": {}, "tokens": "", "length": 3}}))


def _damaged(study: Path) -> None:
    (study / "task.json").write_text("{")


def _without_nets(study: Path) -> None:
    (study / "refit.json").write_text('{"members": []}')


def _linked(study: Path) -> None:
    (file,) = (study / "refit").glob("*.safetensors")
    shutil.move(file, study.parent / "elsewhere.safetensors")
    file.symlink_to(study.parent / "elsewhere.safetensors")


def _of_another_net(study: Path) -> None:
    from safetensors.torch import save_file

    (file,) = (study / "refit").glob("*.safetensors")
    save_file({"linear.weight": torch.zeros(2, 2)}, file)


def _of_other_tokens(study: Path) -> None:
    held = json.loads((study / "task.json").read_text())
    held["fitted"]["tokens"] = learned(["a film", "a film"], "words", 50).dump()
    (study / "task.json").write_text(json.dumps(held))


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (_unfinished, r"^task\.from_study: '.*model' has not finished; lab study resume .*model$"),
        (_nothing_trained, r"^task\.from_study: '.*model' holds no study that has begun \(task\.json is missing\)$"),
        (shutil.rmtree, r"^task\.from_study: '.*model' is not a folder$"),
        (_of_classes, r"^task\.from_study: '.*model' is no study of a language_model$"),
        (_damaged, r"task\.json: cannot be read \("),
        (_without_nets, r"^task\.from_study: '.*model' hands out no net \("),
        (_linked, r"\.safetensors: is a link out of the study's folder$"),
        (_of_another_net, r"\.safetensors: are no weights of an AWD-LSTM$"),
        (_of_other_tokens, r"\.safetensors: has embeddings of \d+ codes, and its tokens have 4$"),
    ],
)
def test_a_study_that_hands_out_no_language_model_is_refused_in_a_line(harm: Any, line: str, home: Path, copied: Path):
    harm(copied)
    with pytest.raises(LabError, match=line) as refused:
        _task(home, copied).fitted()
    assert "\n" not in str(refused.value)


def test_another_vocabulary_and_another_net_are_refused_in_a_line(home: Path, tmp_path: Path):
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(learned(reviews()["text"].tolist(), "words", 10).dump())
    with pytest.raises(
        LabError, match=r"^task\.tokenizer: has another vocabulary than the language model of '.*model'"
    ):
        _task(home, tokenizer=str(tokenizer)).describe()
    own = json.loads((home / "model" / "task.json").read_text())["fitted"]["tokens"]
    tokenizer.write_text(own)
    assert _task(home, tokenizer=str(tokenizer)).fitted()["tokens"] == own
    with pytest.raises(LabError, match=r"^task\.from_study: is the encoder of an awd_lstm, and task\.model is bag$"):
        Text(str(home / "texts.csv"), from_study=str(home / "model"))
