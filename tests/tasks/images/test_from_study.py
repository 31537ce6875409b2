"""A whole net that begins with the net, or the body and the head, of another study, from one folder to the other."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.cli.main import main
from lab.errors import LabError, StudyError
from lab.schedules import OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import TaskRef, Training
from lab.spec.study import parse_spec
from lab.spec.trial import Trial
from lab.stages import ensemble
from lab.stages.ensemble import BASELINE
from lab.stages.predictor import member_outputs, task_that_learned
from lab.study.model_folder import export_model
from lab.study.study import Study
from lab.study.suspects import suspects
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.images.task import Images
from lab.tasks.load import load_task
from lab.training.stacking.layouts import NotStackable
from lab.training.trainer import ModelTrainer
from tests.own_data import pixels
from tests.small import small, write_yaml
from tests.tasks.images.fake_timm import TinyNet, install


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def _spec(name: str, task: dict[str, Any], **more: Any) -> dict[str, Any]:
    return small(
        name=name,
        task={"kind": "images", "model": "timm:tiny", **task},
        space={"max_lr": {"low": 0.001, "high": 0.03, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
        batch_size=16,
        search={"trials": 1, "epochs": 1, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 2, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
        execution={"path": "auto", "width": 2, "threads": 1},
        **more,
    )


def _run(folder: Path, task: dict[str, Any], **more: Any) -> Study:
    study = Study.from_spec(parse_spec(_spec(folder.name, task, **more)), folder)
    study.run()
    return study


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a finished study of heads; its tests change copies of it."""
    folder = tmp_path_factory.mktemp("transfer")
    np.savez(folder / "images.npz", x=pixels(60), y=np.arange(60) % 2)
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        _run(folder / "heads", _of_heads(folder, hidden=5))
    return folder


def _of_heads(home: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(home / "images.npz"), "pretrained": True, "train": "head", **more}


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "heads", tmp_path / "heads"))


def _task(home: Path, study: Path | None = None, **options: Any) -> Images:
    return Images(
        str(home / "images.npz"), **{"model": "timm:tiny", "from_study": str(study or home / "heads"), **options}
    )


def test_before_its_first_step_it_predicts_as_the_chosen_head_on_its_body(home: Path):
    heads = Study.open(home / "heads")
    of_head = task_that_learned(heads.spec.task, heads.record)
    nets = [one for one in ensemble.STAGE.read(heads.record).chosen.members if one.role != BASELINE]
    member = max(nets, key=lambda net: net.weight)
    x, _ = of_head.data("valid")
    expected = member_outputs(of_head, heads.record.final_folder / member.file, member.params, x)
    task = _task(home)
    net = build_model(task, {"dropout": 0.3}, seed=0).eval()
    images, _ = task.data("valid")
    with torch.no_grad():
        said = task.predict(net(task.model_input(images)))
    torch.testing.assert_close(said.double(), expected, rtol=1e-4, atol=1e-5)
    assert said.std(dim=0).max() > 1e-4  # it says different things of different images


def test_it_keeps_the_contract_and_has_groups_by_depth(home: Path):
    task = _task(home, layer_groups=3)
    points = list(contract_suite(task, {"dropout": 0.1}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []
    net = build_model(task, {"dropout": 0.3}, seed=0)
    assert [names[0] for names in task.groups(net)] == ["body.stem.weight", "body.last.weight", "norm.weight"]
    rates = [layer.p for layer in net.modules() if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.3, 0.3]
    fact = f"timm:tiny begins with the body and the head of {home / 'heads'}"
    assert fact in task.describe().facts


@pytest.mark.parametrize("hold", [None, True, False])
def test_batch_norms_keep_the_statistics_by_which_the_head_has_learned(hold: bool | None, home: Path):
    """Those of the head's own hidden layer go on learning, as they did when it was searched."""
    task = _task(home, hold_norms=hold, flip=False)
    trainer = ModelTrainer(task, Training({"kind": "adamw"}, 16, path="sequential"), 1, {})
    trainer.start(Assignment(0, Trial({}, 0, 1, own_schedule=OneCycle(max_lr=0.01)), 0, 0))
    before = {name: tensor.clone() for name, tensor in trainer.save(0)[0].items() if name.startswith("model/")}
    trainer.epoch()
    after = trainer.save(0)[0]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"model/body.norm.weight", "model/norm.weight", "model/head.norm0.running_mean"} <= changed
    statistics = {"model/body.norm.running_mean", "model/norm.running_var"}
    assert statistics & changed == (statistics if hold is False else set())


@pytest.mark.parametrize("path", ["stacked", "vmap"])
def test_such_nets_are_not_stacked(path: str, home: Path):
    task = _task(home, flip=False)
    with pytest.raises(NotStackable, match=r"it holds batch norms in evaluation while it is trained"):
        ModelTrainer(task, Training({"kind": "adamw"}, 16, path=path), 2, {})


def test_its_folder_needs_the_study_of_heads_no_more(
    home: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    task = {"path": str(home / "images.npz"), "from_study": str(copied), "flip": False}
    study = _run(tmp_path / "run", task, schedule={"one": {"kind": "fine_tune"}})
    capsys.readouterr()
    shutil.rmtree(copied)
    (tmp_path / "run" / "refit.json").unlink()
    Study.open(tmp_path / "run").run()
    np.savez(tmp_path / "new.npz", x=pixels(3), y=np.array([0, 1, 0]))
    for state in ({}, {"XDG_STATE_HOME": str(tmp_path / "another's")}):
        for name, value in state.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            sys, "argv", ["lab", "predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.npz")]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (None, 0)
        assert len(pd.read_csv(io.StringIO(capsys.readouterr().out))) == 3
    with pytest.raises(
        StudyError, match=r"^suspects: the head of task\.from_study has learned from all training labels"
    ):
        suspects(study)  # models that have not seen them are what it promises
    result = study.result
    export_model(result.ensemble, result.summary, tmp_path / "out", result.ensemble.test_data()[0])
    assert (tmp_path / "out" / "config.json").exists()
    shutil.rmtree(tmp_path / "run" / "data")
    x = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(LabError, match=r"the study's folder lacks the weights of '.*heads', and you have not begun it"):
        Study.open(tmp_path / "run").result.ensemble.predict(x)


def test_a_kept_net_goes_before_the_other_study_s_folder(home: Path, copied: Path, tmp_path: Path):
    first = _task(home, copied)
    first.cache = tmp_path / "data"
    fitted = json.loads(json.dumps(first.fitted()))
    assert sorted(path.name for path in (tmp_path / "data").glob("[bf]*")) == [
        f"body-{fitted['body']}.safetensors",
        "from-study.json",
    ]
    shutil.rmtree(copied)
    again = _task(home, copied)
    again.cache = tmp_path / "data"
    assert json.loads(json.dumps(again.fitted())) == fitted
    (tmp_path / "data" / f"body-{fitted['body']}.safetensors").write_bytes(b"damaged")
    later = _task(home, copied)
    later.cache = tmp_path / "data"
    with pytest.raises(LabError, match=r"body-.*\.safetensors: weights cannot be read"):
        later.fitted()


def test_a_study_from_elsewhere_reads_its_own_folder_alone(home: Path, tmp_path: Path):
    task = _task(home)
    task.cache = tmp_path / "data"
    fitted = dict(task.fitted())
    ref = TaskRef("images", dict(task.options), cache=str(tmp_path / "data"), foreign=True)
    later = load_task(ref)
    assert isinstance(later, Images)
    later.restore(fitted)
    later.model({})
    shutil.rmtree(tmp_path / "data")
    bare = load_task(ref)
    assert isinstance(bare, Images)
    bare.restore(fitted)
    with pytest.raises(LabError, match=r"the study's folder lacks the weights of '.*heads', and you have not begun it"):
        bare.model({})


def _unfinished(study: Path) -> None:
    (study / "refit.json").unlink()


def _nothing_trained(study: Path) -> None:
    shutil.rmtree(study)
    study.mkdir()


def _changed(**values: Any) -> Any:
    def change(study: Path) -> None:
        held = json.loads((study / "task.json").read_text())
        held["fitted"] |= values
        (study / "task.json").write_text(json.dumps(held))

    return change


def _of_digits(study: Path) -> None:
    (study / "task.json").write_text(json.dumps({"fitted": None}))


def _without_nets(study: Path) -> None:
    (study / "ensemble.json").write_text('{"chosen": {"members": []}}')


def _without_body(study: Path) -> None:
    shutil.rmtree(study / "data")


def _linked(study: Path) -> None:
    file = _head(study)
    shutil.move(file, study.parent / "elsewhere.safetensors")
    file.symlink_to(study.parent / "elsewhere.safetensors")


def _head(study: Path) -> Path:
    held = json.loads((study / "ensemble.json").read_text())
    nets = [member for member in held["chosen"]["members"] if member["role"] != BASELINE]
    return study / "final" / str(max(nets, key=lambda net: float(net["weight"]))["file"])


def _another_head(study: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other.weight": torch.zeros(2, 2)}, _head(study))


def _another_body(study: Path) -> None:
    from safetensors.torch import load_file, save_file

    (file,) = (study / "data").glob("body-*.safetensors")
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (_unfinished, r"^task\.from_study: '.*heads' has not finished; lab study resume .*heads$"),
        (_nothing_trained, r"^task\.from_study: '.*heads' holds no study that has begun \(task\.json is missing\)$"),
        (shutil.rmtree, r"^task\.from_study: '.*heads' is not a folder$"),
        (_of_digits, r"^task\.from_study: '.*heads' is no study of images with a net that began with weights$"),
        (_changed(body=""), r"^task\.from_study: '.*heads' is no study of images with a net that began with weights$"),
        (_changed(center=[], spread=[]), r"\.safetensors: is no net of 'timm:tiny' at 8x8 pixels$"),
        (_changed(center="wide"), r"heads: what was fitted to the images is damaged \(center or spread\)$"),
        (_changed(body="../../elsewhere"), r"^task\.from_study: '.*heads' does not say which images it learned from"),
        (_changed(learned_from=""), r"does not say which images it learned from, as it is older; run it again$"),
        (_changed(learned_from="other"), r"'.*heads' learned from other images or another split; give both studies"),
        (_changed(net="timm:other"), r"'.*heads' is of the net timm:other, and this study of timm:tiny$"),
        (_changed(class_names=["a", "b", "c"]), r"'.*heads' is of classes a, b, c, and this study of 0, 1$"),
        (
            _changed(height=99, learned_names="other"),
            r"'.*heads' learned from other images or another split; give both",
        ),
        (_changed(height=99, learned_names=""), r"does not say which images it learned from, as it is older; run it"),
        (_without_nets, r"^task\.from_study: '.*heads' hands out no net \("),
        (_without_body, r"body-.*\.safetensors: is missing, or no file$"),
        (_linked, r"\.safetensors: is a link out of the study's folder$"),
        (_another_head, r"\.safetensors: is no head of 'timm:tiny'"),
        (_another_body, r"body-.*\.safetensors: has other weights than the study learned with$"),
    ],
)
def test_a_study_that_hands_out_no_such_head_is_refused_in_a_line(harm: Any, line: str, home: Path, copied: Path):
    harm(copied)
    with pytest.raises(LabError, match=line) as refused:
        _task(home, copied).fitted()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pretrained": True}, r"^task\.pretrained: is given beside task\.from_study, which brings the weights; leave"),
        ({"weights": "w.pth"}, r"^task\.weights: is given beside task\.from_study"),
        ({"train": "head"}, r"^task\.train: 'head' is what task\.from_study has done; task\.train: all goes on"),
        ({"hold_norms": "no"}, r"^task\.hold_norms: 'no' is not true or false$"),
        ({"split": {"folds": 3}}, r"^task\.split\.folds: are not for a net with task\.from_study"),
        ({"model": "small_cnn"}, r"^task\.model: 'small_cnn' has no weights; choose timm:NAME or torchvision:NAME"),
        ({"hidden": 7}, r"^task\.hidden: 7 is not 5, which the head of task\.from_study has; leave it out$"),
        ({"split": {"kind": "stratified", "seed": 3}}, r"learned from other images or another split"),
    ],
)
def test_options_that_contradict_the_study_are_refused_in_a_line(options: dict[str, Any], line: str, home: Path):
    with pytest.raises(LabError, match=line):
        _task(home, **options).model({})


@pytest.fixture(scope="module")
def smaller(home: Path) -> Path:
    """A finished study of the whole net; its tests change copies of it."""
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        _run(home / "smaller", {"path": str(home / "images.npz"), "pretrained": True, "hidden": 3, "flip": False})
    return home / "smaller"


def _said_by_chosen(folder: Path, x: torch.Tensor) -> torch.Tensor:
    """What the chosen net of a study of whole nets says of pixels."""
    study = Study.open(folder)
    nets = [one for one in ensemble.STAGE.read(study.record).chosen.members if one.role != BASELINE]
    best = max(nets, key=lambda net: net.weight)
    task = task_that_learned(study.spec.task, study.record)
    return member_outputs(task, study.record.final_folder / best.file, best.params, x)


def _said_at_first(task: Images, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return task.predict(build_model(task, {"dropout": 0.3}, seed=0).eval()(task.model_input(x))).double()


def test_a_head_found_at_one_size_goes_on_at_another(home: Path):
    x = torch.from_numpy(pixels(6, (12, 12, 3))).permute(0, 3, 1, 2)
    small, larger = _task(home), _task(home, size=12)
    assert larger.data("train")[0].shape[2:] == (12, 12)
    torch.testing.assert_close(_said_at_first(larger, x), _said_at_first(small, x), rtol=0, atol=0)


def test_a_whole_net_goes_on_at_another_size_and_from_there_again(home: Path, smaller: Path):
    x = torch.from_numpy(pixels(6, (16, 16, 3))).permute(0, 3, 1, 2)
    at_12 = _task(home, smaller, size=12)
    torch.testing.assert_close(_said_at_first(at_12, x), _said_by_chosen(smaller, x), rtol=1e-5, atol=1e-6)
    task = {"path": str(home / "images.npz"), "from_study": str(smaller), "size": 12, "flip": False}
    _run(home / "larger", task)
    for size in (8, 12, 16):  # 12: by its pixels, which are the same
        begun = _task(home, home / "larger", size=size)
        torch.testing.assert_close(_said_at_first(begun, x), _said_by_chosen(home / "larger", x), rtol=1e-5, atol=1e-6)
    assert not torch.equal(_said_by_chosen(home / "larger", x), _said_by_chosen(smaller, x))  # it has learned


def test_an_adapter_goes_on_from_a_whole_net_of_another_size(home: Path, smaller: Path):
    x = torch.from_numpy(pixels(6, (12, 12, 3))).permute(0, 3, 1, 2)
    adapted = _task(home, smaller, size=12, adapter={"rank": 2})
    torch.testing.assert_close(_said_at_first(adapted, x), _said_by_chosen(smaller, x), rtol=1e-5, atol=1e-6)


def _of_a_trained_adapter(study: Path) -> None:
    from safetensors.torch import save_file

    save_file({"body.last.lora_a": torch.zeros(2, 2)}, _head(study))


def _as_before(study: Path) -> None:
    """As an earlier version has kept a study of the whole net."""
    held = json.loads((study / "task.json").read_text())
    del held["fitted"]["learned_names"]
    held["fitted"] |= {"net": "", "learned_from": ""}
    (study / "task.json").write_text(json.dumps(held))


def _in_other_order(study: Path) -> None:
    with np.load(study.parent / "images.npz") as held:
        x, y = held["x"], held["y"]
    np.savez(study.parent / "images.npz", x=x[::-1], y=y[::-1])


@pytest.mark.parametrize(
    ("harm", "options", "line"),
    [
        (_as_before, {}, r"^task\.from_study: '.*smaller' does not say which images it learned from, as it is older"),
        (_as_before, {"size": 12}, r"does not say which images it learned from, as it is older; run it again$"),
        (_unfinished, {"size": 12}, r"^task\.from_study: '.*smaller' has not finished; lab study resume"),
        (_of_a_trained_adapter, {}, r"^task\.from_study: '.*smaller' trained adapters; take the study that it began"),
        (_another_head, {"size": 12}, r"\.safetensors: is no net of 'timm:tiny' at 12x12 pixels$"),
        (_in_other_order, {"size": 12}, r"'.*smaller' learned from other images or another split; give both"),
        (_changed(), {"size": 12, "split": {"kind": "stratified", "seed": 3}}, r"learned from other images or another"),
        (_changed(), {"size": 12, "limit": 50}, r"'.*smaller' learned from other images or another split"),
        (_changed(), {"size": 12, "class_names": ["a", "b"]}, r"is of classes 0, 1, and this study of a, b$"),
        (_changed(), {"size": 12, "hidden": 7}, r"^task\.hidden: 7 is not 3, which the head of task\.from_study has"),
    ],
)
def test_a_whole_net_that_cannot_go_on_is_refused_in_a_line(
    harm: Any, options: dict[str, Any], line: str, smaller: Path, tmp_path: Path
):
    copied = Path(shutil.copytree(smaller, tmp_path / "smaller"))
    shutil.copy(smaller.parent / "images.npz", tmp_path)
    harm(copied)
    with pytest.raises(LabError, match=line) as refused:
        _task(tmp_path, copied, **options).model({})
    assert "\n" not in str(refused.value)


def test_a_size_that_the_net_does_not_take_is_refused_in_a_line(
    home: Path, smaller: Path, monkeypatch: pytest.MonkeyPatch
):
    def flattened(net: TinyNet, x: torch.Tensor) -> torch.Tensor:
        """Features of every place: as many as fit the head at one size alone."""
        return net.stem(x).flatten(1)

    monkeypatch.setattr(TinyNet, "forward", flattened)
    with pytest.raises(LabError, match=r"^task\.size: 'timm:tiny' does not take images of 12x12 \(.*\)$"):
        _task(home, smaller, size=12).fitted()


@pytest.mark.parametrize("harm", [_unfinished, _changed(net="timm:other"), _without_body])
def test_nothing_is_written_where_it_is_refused(harm: Any, home: Path, copied: Path, tmp_path: Path):
    harm(copied)
    task = {"path": str(home / "images.npz"), "from_study": str(copied), "flip": False}
    for command in ("check", "run"):
        arguments = ["lab", "study", command, str(write_yaml(tmp_path / "spec.yaml", _spec("whole", task)))]
        arguments += ["--dir", str(tmp_path / "run")] if command == "run" else []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 2
    assert not (tmp_path / "run").exists()
