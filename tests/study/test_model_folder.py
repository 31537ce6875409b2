"""A model that leaves the lab: PyTorch alone loads it, and it predicts what the study predicts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lab.cli.main import main
from lab.errors import SpecError, StudyError
from lab.stages.one_module import OneModule
from lab.stages.predictor import Ensemble
from lab.study import model_folder
from lab.study.forms import PROGRAMS
from lab.study.hub_folder import LOADER, HubProgram
from lab.study.hub_loader import load
from lab.study.model_folder import CARD, CONFIG, PROGRAM, WEIGHTS, export_model
from lab.study.program import OnnxProgram, TorchProgram
from lab.study.study import Study
from lab.tasks.digits import Digits
from tests.cli.refusal import refuse

_ALONE = """
import sys
sys.modules["lab"] = None  # it cannot be imported
import numpy as np
import torch
model = torch.export.load("model.pt2").module()
np.save("predicted.npy", model(torch.from_numpy(np.load("x.npy"))).detach().numpy())
"""


@pytest.mark.parametrize("which", ["small_study", "table_study"])
def test_it_predicts_the_same_where_there_is_no_lab(
    which: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    study: Study = request.getfixturevalue(which)
    folder = tmp_path / "model"
    monkeypatch.setattr("sys.argv", ["lab", "export-model", str(study.record.folder), "--output", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert sorted(path.name for path in folder.iterdir()) == sorted([PROGRAM, WEIGHTS, CONFIG, CARD])
    assert [*tmp_path.iterdir()] == [folder]
    ensemble = study.result.ensemble
    x, y = ensemble.test_data()
    np.save(folder / "x.npy", x.numpy())
    subprocess.run([sys.executable, "-c", _ALONE], cwd=folder, check=True, capture_output=True)
    predicted = torch.from_numpy(np.load(folder / "predicted.npy"))
    module = ensemble.as_module(x)
    with torch.no_grad():
        torch.testing.assert_close(predicted, module(x), rtol=1e-5, atol=1e-6)
    if not ensemble.left_out:
        torch.testing.assert_close(predicted, ensemble.predict(x), rtol=1e-5, atol=1e-6)
    config, card = json.loads((folder / CONFIG).read_text()), (folder / CARD).read_text()
    assert config["names"] == list(ensemble.class_names)
    assert config["input"] == {"dtype": str(x.dtype).removeprefix("torch."), "shape": ["n", *x.shape[1:]]}
    metric = study.result.summary.test_metric
    assert metric is not None
    assert f"- {metric} {model_folder.number(ensemble.scores(predicted, y)[metric])} on {len(y)} test" in card
    assert load_file(folder / WEIGHTS).keys() == module.state_dict().keys()


def test_inputs_of_float64_are_taken_as_the_study_takes_them(small_study: Study, tmp_path: Path):
    """As what comes from numpy is, though nets are of float32."""
    ensemble = small_study.result.ensemble
    x = ensemble.test_data()[0].double()
    written = export_model(ensemble, small_study.result.summary, tmp_path / "model", x)
    assert written.difference < 1e-5
    model = torch.export.load(tmp_path / "model" / PROGRAM).module()
    torch.testing.assert_close(model(x[:7]), ensemble.predict_by_nets(x[:7]), rtol=1e-5, atol=1e-6)


def test_the_snippet_of_the_card_runs(small_study: Study, tmp_path: Path):
    ensemble = small_study.result.ensemble
    x = ensemble.test_data()[0]
    export_model(ensemble, small_study.result.summary, tmp_path / "model", x)
    snippet = (tmp_path / "model" / CARD).read_text().split("```python\n")[1].split("```")[0]
    spaces: dict[str, Any] = {"x": x[:3]}
    exec(snippet.replace(PROGRAM, str(tmp_path / "model" / PROGRAM)), spaces)
    assert spaces["probabilities"].shape == (3, 10)


def test_weights_and_temperatures_are_those_of_the_members():
    task = Digits(model="mlp")
    nets = [task.model({"dropout": 0.0}).eval() for _ in range(2)]
    x = task.data("test")[0][:5]
    one = OneModule(task, nets[:1], [1.0], [1.0], 1.0)
    torch.testing.assert_close(one(x), nets[0](task.model_input(x)).softmax(dim=1))
    hot = OneModule(task, nets[:1], [1.0], [2.0], 1.0)
    torch.testing.assert_close(hot(x), (nets[0](task.model_input(x)) / 2).softmax(dim=1))
    both = OneModule(task, nets, [0.75, 0.25], [1.0, 1.0], 1.0)
    parts = [net(task.model_input(x)).softmax(dim=1) for net in nets]
    torch.testing.assert_close(both(x), (3 * parts[0] + parts[1]) / 4)


class _Branching(nn.Module):
    """Asks a number of its inputs, which no program holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def test_what_cannot_be_written_is_refused_in_a_line_and_leaves_nothing(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ensemble, summary = small_study.result.ensemble, small_study.result.summary
    x = ensemble.test_data()[0]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").touch()
    with pytest.raises(SpecError, match=r"^--output: .*there exists already and is not empty; choose another folder$"):
        export_model(ensemble, summary, tmp_path / "there", x)
    module = ensemble.as_module(x)
    module.nets[0] = nn.Sequential(_Branching(), module.nets[0])
    monkeypatch.setattr(type(ensemble), "as_module", lambda *_: module)
    with pytest.raises(
        StudyError, match=r"^PyTorch cannot export this model \(.*\); its weights lie in the study$"
    ) as e:
        export_model(ensemble, summary, tmp_path / "new", x)
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_one_that_takes_another_meaning_when_loaded_is_refused(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ensemble = small_study.result.ensemble
    x = ensemble.test_data()[0]
    monkeypatch.setattr(TorchProgram, "loaded", lambda self, folder, x: torch.full((len(x), 10), 0.1))
    with pytest.raises(StudyError, match="the exported model predicts something else: it differs by up to 0"):
        export_model(ensemble, small_study.result.summary, tmp_path / "new", x)
    assert not [*tmp_path.iterdir()]


def _one_net(ensemble: Ensemble) -> Ensemble:
    """The first of its nets alone: an exporter takes seconds for each."""
    return Ensemble(ensemble.task, ensemble._folder, ensemble._nets()[:1], ensemble.temperature)


_LOADED = """
import sys
sys.modules["lab"] = None  # it cannot be imported
import numpy as np
import torch
from loader import load, predict
x = torch.from_numpy(np.load("x.npy"))
np.save("predicted.npy", load()(x).detach().numpy())
assert [*predict(x[:1])[0]] == [str(digit) for digit in range(10)]
"""


def test_a_folder_for_the_hub_is_loaded_where_there_is_no_lab(small_study: Study, tmp_path: Path):
    ensemble, folder = _one_net(small_study.result.ensemble), tmp_path / "model"
    x, y = ensemble.test_data()
    export_model(ensemble, small_study.result.summary, folder, x, y, to="hub-folder")
    assert sorted(path.name for path in folder.iterdir()) == sorted([PROGRAM, WEIGHTS, CONFIG, CARD, LOADER])
    weights = load_file(folder / WEIGHTS)
    first = next(name for name in weights if name.endswith("weight"))
    np.save(folder / "x.npy", x.numpy())
    subprocess.run([sys.executable, "-c", _LOADED], cwd=folder, check=True, capture_output=True)
    predicted = torch.from_numpy(np.load(folder / "predicted.npy"))
    torch.testing.assert_close(predicted, ensemble.predict(x), rtol=1e-4, atol=1e-5)
    save_file(weights | {first: weights[first] * 2}, folder / WEIGHTS)
    assert not torch.allclose(load(folder)(x), predicted), "weights are those of the safetensors"

    _, front, card = (folder / CARD).read_text().split("---\n", 2)
    said = YAML(typ="safe").load(front)
    scores = ensemble.scores(ensemble.predict(x), y)
    result = said["model-index"][0]["results"][0]
    assert {one["type"]: one["value"] for one in result["metrics"]} == pytest.approx(scores)
    assert (said["pipeline_tag"], said["license"]) == ("image-classification", "unknown")
    assert "from loader import load" in card
    config = json.loads((folder / CONFIG).read_text())
    assert config["id2label"]["3"] == "3"
    (member,) = config["members"]
    assert member["parameters"] == sum(p.numel() for p in ensemble.as_module(x).nets[0].parameters())
    assert "max_lr" in member["hyperparameters"]


def test_names_of_anybody_stay_in_their_place_in_the_front_matter(small_study: Study, tmp_path: Path):
    summary = replace(small_study.result.summary, name="a: [b]\n---\n# c", data='"d" #e')
    lines = HubProgram().front_matter(small_study.result.ensemble, summary, {"accuracy": 0.5, "auc": float("nan")})
    assert lines[0] == lines[-2] == "---"
    said = YAML(typ="safe").load("\n".join(lines[1:-2]))
    assert said["model-index"][0]["name"] == summary.name
    assert said["metrics"] == ["accuracy"]
    assert "model-index" not in YAML(typ="safe").load(
        "\n".join(HubProgram().front_matter(small_study.result.ensemble, summary, {})[1:-2])
    )


_RUN = """
import sys
sys.modules["lab"] = sys.modules["torch"] = None  # they cannot be imported
import numpy as np
x = np.load("x.npy")
{snippet}
np.save("predicted.npy", {gives})
"""


@pytest.mark.parametrize("which", ["small_study", pytest.param("table_study", marks=pytest.mark.slow)])
def test_onnx_predicts_the_same_where_there_is_neither_lab_nor_pytorch(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
):
    for package in OnnxProgram.needs:
        pytest.importorskip(package)
    study: Study = request.getfixturevalue(which)
    ensemble = _one_net(study.result.ensemble)
    x, y = ensemble.test_data()
    folder = tmp_path / "model"
    written = export_model(ensemble, study.result.summary, folder, x, y, to="onnx")
    assert written.difference < 1e-5
    assert sorted(path.name for path in folder.iterdir()) == sorted([OnnxProgram.file, WEIGHTS, CONFIG, CARD])
    np.save(folder / "x.npy", x.numpy())
    snippet = (folder / CARD).read_text().split("```python\n")[1].split("```")[0]
    script = _RUN.format(snippet=snippet, gives="probabilities")
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
    predicted = torch.from_numpy(np.load(folder / "predicted.npy"))
    torch.testing.assert_close(predicted, ensemble.predict(x), rtol=1e-4, atol=1e-5)


def test_a_form_that_is_not_there_is_one_line(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(OnnxProgram, "needs", ("onnx", "a_package_that_nobody_has"))
    command = ("export-model", small_study.record.folder, "--output", tmp_path / "model", "--to")
    said = refuse(capsys, monkeypatch, *command, "onnx")
    assert said.endswith("a_package_that_nobody_has; pip install 'onecycle-lab[onnx]'")
    assert (
        refuse(capsys, monkeypatch, *command, "tflite") == "--to: 'tflite' is unknown; choices: torch, onnx, hub-folder"
    )
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_what_no_form_takes_is_one_line(name: str, tmp_path: Path):
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.sum().item() if x.sum() > 0 else 0)

    program = PROGRAMS[name]
    for package in program.needs:
        pytest.importorskip(package)
    with pytest.raises(StudyError, match=rf"^{program.by} cannot export this model \(.*\); its weights lie"):
        program.save(Odd(), torch.ones(5, 2), tmp_path)
