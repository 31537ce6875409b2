"""Studies of nets with adapters, from their checks to what leaves the lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lab.errors import SpecError
from lab.spec.study import parse_spec
from lab.study.estimate import _of_model
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.images.task import Images
from lab.tasks.text.task import Text
from lab.training.equivalence import check_path
from tests.own_data import pixels, write_texts
from tests.own_studies import own_spec
from tests.tasks.images.fake_timm import install
from tests.tasks.text.tiny_bert import write_body

NET = {"model": "timm:tiny", "pretrained": True, "flip": False}


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.fixture
def images(tmp_path: Path) -> str:
    np.savez(tmp_path / "images.npz", x=pixels(60), y=np.arange(60) % 2)
    return str(tmp_path / "images.npz")


def _spec(images: str, **more: Any) -> dict[str, Any]:
    spec = own_spec({"kind": "images", "path": images, **NET, "adapter": {"rank": 2}}, **more)
    spec["space"] = {
        "max_lr": {"low": 1e-3, "high": 0.03, "log": True},
        "rank": {"choice": [1, 2]},
        "alpha": {"low": 1.0, "high": 16.0, "log": True},
    }
    spec["confirm"] = {"one_cycle": 1, "several": 0, "seeds": 2}
    spec["final"] = {"epochs": 3, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"}
    spec["execution"] = {**spec["execution"], "width": 2}
    return spec


def test_it_keeps_the_contract(tmp_path: Path):
    texts, body = str(write_texts(tmp_path / "texts.csv")), str(write_body(tmp_path / "bert"))
    task = Text(texts, model="hf:", weights=body, adapter={"rank": 3})
    points = list(contract_suite(task, {"dropout": 0.1, "rank": 2, "alpha": 4.0}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []
    assert any("of which" in point.said and "are trained" in point.said for point in points)


@pytest.mark.parametrize(
    ("targets", "layers", "count"),
    [
        ("attention", {"self.query", "self.key", "self.value", "output.dense"}, 8),
        (["query", "value"], {"self.query", "self.value"}, 4),
    ],
)
def test_nets_of_transformers_train_stacked_as_one_after_the_other(
    targets: Any, layers: set[str], count: int, tmp_path: Path
):
    """Though torch.fx cannot trace their bodies, nor `torch.vmap` run them."""
    texts, body = str(write_texts(tmp_path / "texts.csv")), str(write_body(tmp_path / "bert"))
    task = Text(texts, model="hf:", weights=body, adapter={"rank": 3, "targets": targets})
    x, y = task.data("train")

    def build(seed: int) -> torch.nn.Module:
        return build_model(task, {"alpha": 2.0 + seed, "dropout": 0.1 * seed}, seed)

    adapted = [name.removesuffix(".lora_a") for name in build(0).state_dict() if name.endswith(".lora_a")]
    assert len(adapted) == count
    assert {".".join(name.split(".")[-2:]) for name in adapted} == layers
    check_path("stacked", task, build, task.model_input(x), y)


@pytest.mark.slow
def test_a_study_searches_rank_and_alpha_and_keeps_what_is_a_nets_own(images: str, tmp_path: Path):
    study = Study.from_spec(parse_spec(_spec(images)), tmp_path / "run")
    study.run()
    assert study.spec.execution.path == "stacked"
    assert set(study.result.trials["params_rank"].dropna()) == {1, 2}
    kept = sorted((tmp_path / "run" / "final").glob("*.safetensors"))
    assert kept
    names = load_file(kept[0]).keys()
    assert {"body.stem.lora_a", "body.stem.lora_b", "body.stem.scale", "head.linear.weight"} <= names
    assert not {"body.stem.weight", "body.norm.running_mean"} & names
    Path(images).unlink()
    ensemble = Study.open(tmp_path / "run").result.ensemble
    x = ensemble.prepare(pixels(60))
    assert ensemble.predict(x).shape == (60, 2)
    module = ensemble.as_module(x)  # what is exported
    torch.testing.assert_close(module(x), ensemble.predict_by_nets(x), rtol=1e-5, atol=1e-5)
    exported = module.state_dict()
    assert "nets.0.body.stem.weight" in exported
    assert not [name for name in exported if "lora" in name]


def test_phases_are_open_to_it_at_rates_that_are_said(images: str, tmp_path: Path):
    spec = _spec(images, schedule={"one": {"kind": "fine_tune"}})
    with pytest.raises(
        SpecError, match=r"^schedule\.one\.lr_divisor: is needed beside task\.adapter: by itself fine_tun"
    ):
        Study.from_spec(parse_spec(spec), tmp_path / "run").check()
    spec["schedule"] = {"one": {"kind": "fine_tune", "lr_divisor": 1.0}}
    spec["execution"] = {**spec["execution"], "path": "sequential"}
    spec["search"] = {**spec["search"], "trials": 2}
    study = Study.from_spec(parse_spec(spec), tmp_path / "run")
    study.run(until="explore")
    assert len(study.result.trials) == 2


def test_the_estimate_says_how_much_is_trained_and_what_is_kept_of_it(images: str):
    task = Images(images, **NET, adapter="lora")
    spec = parse_spec(_spec(images))
    lines = _of_model(spec.model_copy(update={"task": replace(spec.task, opened=task)}), 1)
    net = build_model(task, {"rank": 1}, 0)
    every = sum(p.numel() for p in net.parameters())
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert lines[0] in [
        f"model    {n:,} of {every + n - trained:,} parameters are trained, {n / (every + n - trained):.2%}"
        for n in (trained,)
    ]
    assert "1 snapshots" in lines[1]


def test_a_rank_in_the_space_that_a_layer_cannot_have_is_refused(images: str, tmp_path: Path):
    spec = _spec(images)
    spec["space"]["rank"] = {"choice": [2, 9]}
    with pytest.raises(SpecError, match=r"^space\.rank: 9 is above 8, which is the size of the layer 'stem'"):
        Study.from_spec(parse_spec(spec), tmp_path / "run").run()
    spec["space"]["rank"] = {"low": 0, "high": 4}
    with pytest.raises(SpecError, match=r"^space\.rank: 0 is not at least 1"):
        Study.from_spec(parse_spec(spec), tmp_path / "run").check()
    spec["task"] = {key: value for key, value in spec["task"].items() if key != "adapter"}
    spec["space"]["rank"] = {"low": 1, "high": 4}
    with pytest.raises(SpecError, match=r"^space\.rank: is of an adapter: task\.adapter: lora"):
        Study.from_spec(parse_spec(spec), tmp_path / "run").check()
