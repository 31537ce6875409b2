"""Nets that begin with weights: from a library or a file, their bodies frozen or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lab.errors import LabError
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.checks import check_task
from lab.tasks.images.task import Images
from lab.tasks.task import Split
from lab.tasks.transfer.features import features
from tests.own_data import pixels
from tests.own_studies import own_spec
from tests.tasks.images.fake_timm import FEATURES, MEAN, STD, install, trained

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.fixture
def images(tmp_path: Path) -> str:
    np.savez(tmp_path / "images.npz", x=pixels(60), y=np.arange(60) % 2)
    return str(tmp_path / "images.npz")


def test_a_new_head_is_put_on_the_librarys_body(images: str):
    task = Images(images, model="timm:tiny", pretrained=True)
    net = build_model(task, {"dropout": 0.5}, seed=0)
    body, head = net.get_submodule("body"), net.get_submodule("head")
    assert torch.equal(body.get_parameter("stem.weight"), trained().stem.weight)
    assert [name for name, _ in net.named_children()] == ["body", "norm", "head"]
    assert [type(layer).__name__ for layer in head] == ["Dropout", "Linear"]
    assert head[-1].weight.shape == (len(task.class_names), FEATURES)
    assert not torch.equal(head[-1].weight, build_model(task, {}, seed=1).get_submodule("head")[-1].weight)
    hidden = build_model(task, {"hidden": 5}, seed=0).get_submodule("head")
    assert [layer.out_features for layer in hidden if isinstance(layer, torch.nn.Linear)] == [5, len(task.class_names)]


def test_a_pretrained_net_may_hold_its_statistics(images: str):
    held, free = (
        build_model(Images(images, model="timm:tiny", pretrained=True, hold_norms=hold), {}, seed=0).train()
        for hold in (True, None)
    )
    assert [net.get_submodule("body.norm").training for net in (held, free)] == [False, True]
    assert held.get_submodule("head.dropout").training
    assert all(torch.equal(a, b) for a, b in zip(held.state_dict().values(), free.state_dict().values(), strict=True))


def test_a_model_is_the_same_whether_its_body_was_there_before_or_not(images: str):
    first, second = (Images(images, model="timm:tiny", pretrained=True) for _ in range(2))
    build_model(first, {}, seed=3)
    ours, theirs = (build_model(task, {}, seed=0).state_dict() for task in (first, second))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pixels_are_normalised_as_the_weights_were_trained(images: str):
    task = Images(images, model="timm:tiny", pretrained=True)
    x = torch.full((2, 1, 4, 4), 128, dtype=torch.uint8)
    expected = (128 / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(task.model_input(x), expected.view(3, 1, 1).expand(2, 3, 4, 4))


def test_features_of_a_frozen_body_are_made_once_and_kept(images: str, tmp_path: Path):
    task = Images(images, model="timm:tiny", pretrained=True, train="head")
    task.cache = tmp_path / "kept"
    x, _ = task.data("train")
    raw = Images(images, model="timm:tiny", pretrained=True)
    body = trained().eval()
    body.classifier = torch.nn.Identity()
    with torch.no_grad():
        made = body(raw.model_input(raw.data("train")[0]))
    assert torch.allclose(x, (made - made.mean(dim=0)) / made.std(dim=0, correction=0), atol=1e-4)
    again = Images(images, model="timm:tiny", pretrained=True, train="head")
    again.cache = task.cache
    again._options = task._options
    kept = [path for path in task.cache.iterdir() if path.name.startswith("features-")]
    assert len(kept) == 1
    kept[0].write_bytes(b"damaged")
    assert torch.equal(again.data("train")[0], x)
    check_task(task, {"dropout": 0.1})


def test_a_body_runs_once_over_each_split_also_where_nothing_is_kept(images: str, monkeypatch: pytest.MonkeyPatch):
    ran: list[int] = []

    def counted(body: torch.nn.Module, see: Any, x: torch.Tensor) -> torch.Tensor:
        ran.append(len(x))
        return features(body, see, x)

    monkeypatch.setattr("lab.tasks.images.task.features", counted)
    task = Images(images, model="timm:tiny", pretrained=True, train="head")
    sizes = [len(task.data(split)[0]) for split in SPLITS]
    assert ran == sizes
    assert not task.data("train")[0].is_inference()


def test_nothing_is_varied_where_features_are_made_once(images: str):
    task = Images(images, model="timm:tiny", pretrained=True, train="head")
    assert task.undecided == {}
    assert task.draw(4, np.random.default_rng(0), {}) is None


@pytest.mark.parametrize("form", ["safetensors", "pth", "wrapped", "parallel", "another head"])
def test_weights_come_from_a_file(form: str, images: str, tmp_path: Path):
    state = {name: tensor.clone() for name, tensor in trained().state_dict().items()}
    path = tmp_path / f"weights.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file(state, path)
    else:
        if form == "another head":
            state |= {"classifier.weight": torch.zeros(3, FEATURES), "classifier.bias": torch.zeros(3)}
        if form == "parallel":
            state = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": state} if form == "wrapped" else state, path)
    task = Images(images, model="timm:tiny", weights=str(path))
    stem = build_model(task, {}, seed=0).get_parameter("body.stem.weight")
    assert torch.equal(stem, trained().stem.weight)


class _Code:
    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("norm.bias"), r"another net than 'timm:tiny': it lacks 1 of 8: norm\.bias$"),
        (lambda s: s.update(other=torch.zeros(1)), r"unknown are 1 of 8: other$"),
        (lambda s: s.update({"norm.bias": torch.zeros(3)}), r"of other shapes are 1 of 8: norm\.bias$"),
        (lambda s: s.clear(), r"holds no weights by name$"),
        (lambda s: s.update(code=_Code()), r"weights cannot be read \(UnpicklingError"),
    ],
)
def test_weights_of_another_net_are_refused(change: Any, message: str, images: str, tmp_path: Path):
    state: dict[str, Any] = dict(trained().state_dict())
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    task = Images(images, model="timm:tiny", weights=str(tmp_path / "weights.pth"))
    with pytest.raises(LabError, match=message):
        task.model({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": True}, r"task\.model: 'small_cnn' has no weights; choose timm:NAME or torchvision:NAME"),
        ({"model": "timm:tiny", "train": "head"}, r"task\.train: 'head' needs a body with weights"),
        ({"model": "timm:tiny", "pretrained": True, "weights": "x.pth"}, r"task\.weights: is given beside"),
        ({"model": "timm:bare", "pretrained": True}, r"task\.pretrained: timm has no weights for 'timm:bare'"),
        ({"model": "timm:offline", "pretrained": True}, r"'timm:offline' cannot be had \(OSError: no network\); give"),
        ({"hold_norms": True}, r"task\.hold_norms: is for a net that begins with weights and is trained whole"),
        ({"model": "timm:tiny", "hidden": 4}, r"task\.hidden: is for a net that begins with weights"),
        ({"model": "timm:tiny", "pretrained": True, "train": "head", "shift": 2}, r"task\.shift: has no effect where"),
        ({"model": "timm:tiny", "weights": "none.pth"}, r"none\.pth: weights cannot be read \(FileNotFoundError"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict[str, Any], message: str, images: str):
    with pytest.raises(LabError, match=message):
        Images(images, **options).model({})


def test_a_study_of_heads_predicts_by_itself(images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its folder holds the body: neither the library's weights nor the training images are asked for again."""
    spec = own_spec({"kind": "images", "path": images, "model": "timm:tiny", "pretrained": True, "train": "head"})
    study = Study.from_spec(parse_spec(spec), tmp_path / "run")
    study.run()
    Path(images).unlink()
    monkeypatch.setattr(sys_timm(), "is_model_pretrained", lambda name: False)
    ensemble = Study.open(tmp_path / "run").result.ensemble
    prepared = ensemble.prepare(pixels(60))
    assert prepared.shape == (60, FEATURES)
    assert ensemble.predict(prepared).shape == (60, 2)


def test_a_study_fine_tunes_the_whole_net_in_phases(images: str, tmp_path: Path):
    spec = own_spec(
        {"kind": "images", "path": images, "model": "timm:tiny", "pretrained": True, "flip": False, "layer_groups": 3},
        schedule={"one": {"kind": "fine_tune", "frozen": 0.5}},
    )
    spec["space"] = {"max_lr": {"low": 1e-3, "high": 0.03, "log": True}, "lr_divisor": {"low": 1.0, "high": 10.0}}
    spec["confirm"] = {"one_cycle": 1, "several": 0, "seeds": 2}
    spec["final"] = {"epochs": 4, "seeds": 1, "snapshots": 1, "controls": "none"}
    with pytest.raises(LabError, match=r"execution\.path: 'stacked' is not open to a schedule that freezes parts"):
        Study.from_spec(parse_spec(spec), tmp_path / "run").run()
    spec["execution"] = {**spec["execution"], "path": "auto"}
    study = Study.from_spec(parse_spec(spec), tmp_path / "run")
    study.run()
    assert study.spec.execution.path == "sequential"
    assert "freezes parts" in study.spec.provenance["probe"]["reason"]
    assert study.result.ensemble.predict(torch.from_numpy(pixels(4)).permute(0, 3, 1, 2)).shape == (4, 2)


def test_layers_of_a_body_are_shared_out_by_depth(images: str):
    task = Images(images, model="timm:tiny", pretrained=True, layer_groups=3)
    groups = task.groups(build_model(task, {}, seed=0))
    assert [names[0] for names in groups] == ["body.stem.weight", "body.last.weight", "norm.weight"]
    assert sum(map(len, groups)) == len(list(build_model(task, {}, seed=0).parameters()))


def sys_timm() -> Any:
    import timm

    return timm
