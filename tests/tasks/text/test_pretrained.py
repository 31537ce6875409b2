"""Bodies of `transformers`: made again from a study's folder, frozen or trained, and refused in a line where not."""

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

from lab.cli.main import main
from lab.errors import LabError
from lab.spec.plan import TaskRef
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.load import load_task
from lab.tasks.text.pretrained import Pooled
from lab.tasks.text.task import Text
from tests.own_data import write_texts
from tests.small import small
from tests.tasks.text.tiny_bert import FEATURES, LONGEST, write_body


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_texts(tmp_path / "texts.csv"))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write_body(tmp_path / "bert"))


def _task(path: str, folder: str, **options: Any) -> Text:
    return Text(path, model="hf:", weights=folder, **options)


@pytest.mark.parametrize("train", ["all", "head"])
def test_it_keeps_the_contract(train: str, path: str, folder: str):
    task = _task(path, folder, train=train)
    points = list(contract_suite(task, {"dropout": 0.1, "hidden": 4, "balance": 0.5}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []


def test_features_are_the_mean_of_what_the_library_makes(path: str, folder: str):
    from transformers import AutoModel, AutoTokenizer

    task = _task(path, folder, train="head")
    texts = task._corpus.texts("valid")
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    begun = task._learned.body
    assert begun is not None
    expected = []
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            expected.append(net(**tokens).last_hidden_state[0].mean(dim=0))
    center, spread = torch.tensor(begun.center), torch.tensor(begun.spread)
    assert begun.features == FEATURES
    torch.testing.assert_close(task.data("valid")[0], (torch.stack(expected) - center) / spread, rtol=1e-4, atol=1e-4)


def test_what_fills_up_a_text_changes_nothing(path: str, folder: str):
    body = _task(path, folder)._body.net.eval()
    codes = torch.tensor([[3, 5, 7, 0, 0, 0], [2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    out = body(codes)
    assert out.isfinite().all()
    assert out[2].abs().max() == 0
    torch.testing.assert_close(body(codes[:1, :3])[0], out[0], rtol=1e-4, atol=1e-6)


def test_the_body_is_trained_with_rates_of_its_own_by_depth(path: str, folder: str):
    task = _task(path, folder, layer_groups=3)
    model = build_model(task, {"dropout": 0.1}, seed=0)
    groups = task.groups(model)
    assert [name.split(".")[0] for group in groups for name in group[:1]] == ["body", "body", "norm"]
    assert sorted(name for group in groups for name in group) == sorted(dict(model.named_parameters()))
    assert "embeddings" in groups[0][0]
    again = build_model(task, {}, seed=1)
    assert torch.equal(
        *(net.get_parameter("body.net.embeddings.word_embeddings.weight") for net in (model, again))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("train", ["all", "head"])
def test_it_is_made_again_from_a_study_s_folder(train: str, path: str, folder: str, tmp_path: Path):
    task = _task(path, folder, train=train)
    task.cache = tmp_path / "data"
    fitted, x = json.loads(json.dumps(task.fitted())), task.data("valid")[0]
    shutil.rmtree(folder)
    later = _task(path, folder, train=train)
    later.cache = tmp_path / "data"
    later.restore(fitted)
    assert torch.equal(later.data("valid")[0], x)
    ours, theirs = (build_model(t, {}, seed=0).state_dict() for t in (task, later))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_weights_than_the_study_began_with_are_refused(path: str, folder: str, tmp_path: Path):
    fitted = dict(_task(path, folder).fitted())
    later = _task(path, str(write_body(tmp_path / "other", seed=1)))
    later.restore(fitted)
    with pytest.raises(LabError, match=r"the weights of '.*other' are not those that the study began with$"):
        later.model({})


def test_a_study_from_elsewhere_asks_no_network_for_weights(path: str, folder: str, tmp_path: Path):
    task = _task(path, folder)
    task.cache = tmp_path / "data"
    fitted = dict(task.fitted())
    later = load_task(TaskRef("text", dict(task.options), cache=str(tmp_path / "data"), foreign=True))
    assert isinstance(later, Text)
    later.restore(fitted)
    later.model({})  # those that the folder keeps are taken
    shutil.rmtree(tmp_path / "data")
    bare = load_task(TaskRef("text", dict(task.options), cache=str(tmp_path / "data"), foreign=True))
    assert isinstance(bare, Text)
    bare.restore(fitted)
    with pytest.raises(LabError, match=r"the study's folder lacks the weights of '.*bert', and you have not begun it"):
        bare.model({})


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "hf:"}, r"task\.weights: is needed with model hf:$"),
        ({"model": "bag", "weights": "folder"}, r"task\.weights: is not used with model bag$"),
        (
            {"train": "head"},
            r"task\.train: 'head' needs a body that was trained before: task\.model: hf:NAME, or t",
        ),
        ({"model": "hf:", "weights": "no/such"}, r"task\.weights: 'no/such' is not a folder$"),
        ({"model": "hf:x", "tokenizer": "t.json"}, r"task\.tokenizer: is not used with model hf:x, which brings its"),
        ({"model": "hf:x", "train": "head", "word_dropout": 0.1}, r"task\.word_dropout: has no effect where task\.tra"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(options: dict[str, Any], line: str, path: str):
    with pytest.raises(LabError, match=line):
        Text(path, **options).describe()


def test_a_folder_without_a_net_is_refused_in_a_line(path: str, folder: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match=r"^task\.weights: '.*empty' cannot be had \(") as refused:
        _task(path, str(tmp_path / "empty")).describe()
    assert "\n" not in str(refused.value)
    (Path(folder) / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(LabError, match=r"^task\.weights: '.*bert' cannot be had \("):
        _task(path, folder).model({})


def test_longer_texts_than_the_body_takes_are_refused(path: str, folder: str):
    with pytest.raises(LabError, match=rf"task\.max_tokens: the body does not take texts of {LONGEST + 1} tokens \("):
        _task(path, folder, max_tokens=LONGEST + 1).describe()


def test_its_library_may_be_missing(path: str, folder: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LabError, match=r"task\.model: 'hf:' needs: pip install 'onecycle-lab\[text\]'$"):
        _task(path, folder).describe()


def test_exported_it_reads_texts_of_any_length(path: str, folder: str):
    body = _task(path, folder)._body.net
    assert isinstance(body, Pooled)
    codes = torch.tensor([[3, 5, 7, 0, 0, 0], [2, 4, 0, 0, 0, 0]])
    program = torch.export.export(body.eval(), (codes,))
    torch.testing.assert_close(program.module()(codes), body(codes), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["head", "all"])
def test_a_study_hands_out_what_reads_later_texts(
    train: str,
    path: str,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    value = small(
        name="text",
        task={"kind": "text", "path": path, "model": "hf:", "weights": folder, "train": train},
        space={"max_lr": {"low": 0.01, "high": 0.1, "log": True}},
        schedule={"one": {"kind": "fine_tune"}} if train == "all" else {},
        batch_size=16,
        search={"trials": 2, "epochs": 2, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 8, "seeds": 1, "snapshots": 1},
        execution={"engine": "local", "lanes": 1, "width": 1, "path": "sequential"},
    )
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run()
    Path(path).unlink()
    shutil.rmtree(folder)
    capsys.readouterr()
    (tmp_path / "new.txt").write_text("It is great , a film\nIt is awful , a film\n")
    monkeypatch.setattr("sys.argv", ["lab", "predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.txt")])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code in (None, 0), printed.err
    assert pd.read_csv(io.StringIO(printed.out)).iloc[:, 0].isin(["good", "bad"]).tolist() == [True, True]
