"""A whole net that begins with the body and the head of a study of heads, from one folder to the other."""

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
from tests.tasks.images.fake_timm import install


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
    told = f"timm:tiny begins with the body and the head of {home / 'heads'}"
    assert told in task.describe().facts


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
        (_of_digits, r"^task\.from_study: '.*heads' is no study of images with train: head$"),
        (_changed(center=[], spread=[]), r"^task\.from_study: '.*heads' is no study of images with train: head$"),
        (_changed(center="wide"), r"heads: what was fitted to the images is damaged \(center or spread\)$"),
        (_changed(body="../../elsewhere"), r"^task\.from_study: '.*heads' does not say which images it learned from"),
        (_changed(learned_from=""), r"does not say which images it learned from, as it is older; run it again$"),
        (_changed(learned_from="other"), r"'.*heads' learned from other images or another split; give both studies"),
        (_changed(net="timm:other"), r"'.*heads' is of the net timm:other, and this study of timm:tiny$"),
        (_changed(class_names=["a", "b", "c"]), r"'.*heads' is of classes a, b, c, and this study of 0, 1$"),
        (_changed(height=99), r"'.*heads' is of images 8x99, and this study of 8x8$"),
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
