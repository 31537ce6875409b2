"""Metrics by name: those of scikit-learn, and refused where they say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from torch import Tensor

from lab.errors import SpecError, TaskError
from lab.record.spec_file import read_spec
from lab.tasks.baselines import fit_baseline, prediction_of
from lab.tasks.digits import Digits
from lab.tasks.digits_options import DigitsOptions
from lab.tasks.images.task import Images
from lab.tasks.load import describe
from lab.tasks.metrics import Decided, metrics_of, pinball_each
from lab.tasks.scored import Scored, check_defined, score_of
from lab.tasks.table.task import Table
from lab.tasks.task import Kind, Metric
from tests.own_data import pixels, table, write_folders, write_table
from tests.own_studies import own_spec, own_study
from tests.small import lab as command
from tests.small import write_yaml


def metric(name: str, kind: Kind) -> Metric:
    return metrics_of(score_of(Scored(metric=name), kind), score_of(Scored(), kind), kind)[name]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("classes", [2, 4])
def test_those_of_classes_are_scikit_learns(classes: int):
    output, y = noise(80, classes), torch.arange(80) % (classes + 1) % classes  # uneven
    p, said = output.softmax(dim=1).double().numpy(), output.argmax(dim=1).numpy()
    p /= p.sum(axis=1, keepdims=True)
    expected = {
        "accuracy": sk.accuracy_score(y, said),
        "balanced_accuracy": sk.balanced_accuracy_score(y, said),
        "macro_f1": sk.f1_score(y, said, average="macro"),
        "auc": sk.roc_auc_score(y, p[:, 1] if classes == 2 else p, multi_class="ovr"),
        "log_loss": sk.log_loss(y, p),
    }
    for name, value in expected.items():
        assert float(metric(name, "classification")(output, y)) == pytest.approx(value, abs=1e-6), name


def test_a_class_that_is_not_there_does_not_count():
    output, y = torch.tensor([[2.0, 0, 0], [0, 2, 0], [2, 0, 0]]), torch.tensor([0, 1, 1])
    assert float(metric("balanced_accuracy", "classification")(output, y)) == pytest.approx(0.75)
    assert float(metric("auc", "classification")(output, y)) == pytest.approx(0.75)


def test_auc_counts_ties_half_and_does_not_saturate():
    sure = torch.tensor([[0.0, 200.0], [0, 300], [0, 250]])
    assert float(metric("auc", "classification")(sure, torch.tensor([0, 1, 0]))) == 1.0
    same = torch.zeros(5, 2)
    assert float(metric("auc", "classification")(same, torch.tensor([0, 1, 0, 1, 1]))) == 0.5


def test_those_of_labels_are_scikit_learns_at_the_best_common_threshold():
    output, y = noise(60, 4) - 2, (noise(60, 4, seed=1) > 1).long()
    p, true = output.sigmoid().numpy(), y.numpy()
    for average in ("micro", "macro"):
        f1 = metric(f"{average}_f1", "multilabel")
        assert isinstance(f1, Decided)
        at_half = sk.f1_score(true, p > 0.5, average=average, zero_division=0)
        assert float(f1.at_half(output, y)) == pytest.approx(at_half)
        best = max(sk.f1_score(true, p > t, average=average, zero_division=0) for t in np.linspace(0, 1, 400))
        assert at_half < float(f1(output, y)) <= best + 1e-6
        assert float(f1(output, y)) == pytest.approx(best, abs=0.02)
    assert float(metric("auc", "multilabel")(output, y)) == pytest.approx(sk.roc_auc_score(true, p))
    expected = np.mean([sk.log_loss(true[:, k], p[:, k].astype(float)) for k in range(4)])
    assert float(metric("log_loss", "multilabel")(output, y)) == pytest.approx(expected, rel=1e-5)


def test_a_label_that_never_varies_has_no_area():
    output, y = noise(20, 2), torch.stack([torch.arange(20) % 2, torch.zeros(20, dtype=torch.long)], dim=1)
    expected = sk.roc_auc_score(y[:, 0], output[:, 0])
    assert float(metric("auc", "multilabel")(output, y)) == pytest.approx(expected)


def test_those_of_values_are_scikit_learns():
    output, y = noise(50, 2), noise(50, 2, seed=1) + 3
    for name, function in {
        "rmse": lambda: np.sqrt(sk.mean_squared_error(y, output)),
        "mae": lambda: sk.mean_absolute_error(y, output),
        "mape": lambda: sk.mean_absolute_percentage_error(y, output),
        "r2": lambda: sk.r2_score(y, output),
        "quantile:0.9": lambda: sk.mean_pinball_loss(y, output, alpha=0.9),
    }.items():
        assert float(metric(name, "regression")(output, y)) == pytest.approx(function(), rel=1e-5), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acc"}, r"task\.metric: 'acc' is unknown \(did you mean 'auc'\?\); choices: accuracy, .*NAME$"),
        ({"metric": 3}, r"task\.metric: 3 is not a metric's name"),
        ({"metric": "quantile"}, r"task\.metric: 'quantile' names no quantile between 0 and 1, such as quantile:0\.9"),
        ({"metric": "quantile:1"}, r"task\.metric: 'quantile:1' names no quantile"),
        ({"metric": "quantile:x"}, r"task\.metric: 'quantile:x' names no quantile"),
        ({"metric": "m.py:f"}, r"task\.direction: is missing: whether m\.py:f is to maximize or to minimize"),
        ({"direction": "minimize"}, r"task\.direction: is of a metric of one's own, and task\.metric is not given"),
        ({"metric": "auc", "direction": "minimize"}, r"task\.direction: 'minimize': auc is to maximize; leave it out"),
        ({"metric": "auc", "direction": "up"}, r"task\.direction: 'up' is unknown; choices: maximize, minimize"),
    ],
)
def test_what_names_no_metric_is_refused(options: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message):
        DigitsOptions.parse(options)


def test_a_metric_of_another_kind_of_target_is_refused(tmp_path: Path):
    path = str(write_table(tmp_path / "t.csv", table()))
    with pytest.raises(SpecError, match=r"task\.metric: 'rmse' is not for a target of classification; choices: accur"):
        describe_of({"kind": "table", "path": path, "target": "answer", "metric": "rmse"})
    with pytest.raises(SpecError, match=r"task\.metric: 'auc' is not for a target of regression; choices: rmse, mae, "):
        describe_of({"kind": "table", "path": path, "target": "number", "metric": "auc"})
    with pytest.raises(SpecError, match=r"task\.metric: 'r2' is not for a target of classification"):
        describe_of({"kind": "images", "path": str(write_folders(tmp_path / "x")), "metric": "r2"})
    with pytest.raises(SpecError, match=r"task\.metric: 'r2' is not for a target of classification"):
        describe_of({"kind": "digits", "metric": "r2"})


def describe_of(task: dict[str, Any]) -> object:
    from lab.spec.plan import parse_task

    return describe(parse_task(task))


@pytest.mark.parametrize(
    ("name", "kind", "y", "reason"),
    [
        ("auc", "classification", np.array([1, 1]), "they are of one class only"),
        ("auc", "multilabel", np.array([[1, 0], [1, 0]]), "no label is both there and not there"),
        ("mape", "regression", np.array([[1.0], [0.0]]), "1 targets are 0"),
        ("r2", "regression", np.array([[2.0], [2.0]]), "a target has one value only"),
    ],
)
def test_a_metric_that_says_nothing_on_a_split_is_refused(name: str, kind: str, y: Any, reason: str):
    with pytest.raises(SpecError, match=rf"task\.metric: '{name}' is undefined on the 2 valid examples: {reason}$"):
        check_defined(Scored(metric=name), kind, {"valid": y})
    check_defined(Scored(), kind, {"valid": y})


def test_it_is_refused_before_anything_trains(tmp_path: Path):
    frame = table(60)
    frame["part"] = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    frame.loc[40:49, "answer"] = "yes"
    path = write_table(tmp_path / "t.csv", frame)
    task = {"kind": "table", "path": str(path), "target": "answer", "metric": "auc"}
    task["split"] = {"kind": "declared", "by": "part"}  # type: ignore[assignment]
    refused = command("study", "check", write_yaml(tmp_path / "s.yaml", own_spec(task)))
    assert refused.returncode == 2
    line = "task.metric: 'auc' is undefined on the 10 valid examples: they are of one class only"
    assert refused.stderr.strip().endswith(line)


OWN = """import torch

def pinball(output, target):
    return torch.maximum(0.1 * (output - target), 0.9 * (target - output)).mean()
"""


def test_a_metric_of_ones_own_is_looked_for_beside_the_spec(tmp_path: Path):
    path = write_table(tmp_path / "t.csv", table())
    (tmp_path / "my_metrics.py").write_text(OWN)
    task = {"kind": "table", "path": path.name, "target": "number", "metric": "my_metrics.py:pinball"}
    value = own_spec(task | {"direction": "minimize"})
    spec = read_spec(write_yaml(tmp_path / "s.yaml", value))
    assert spec.task.options["metric"] == f"{tmp_path}/my_metrics.py:pinball"
    own = Table(**spec.task.options)
    assert (own.metric, own.direction, list(own.metrics)) == ("pinball", "minimize", ["pinball", "rmse"])
    output, y = noise(9, 1), noise(9, 1, seed=1)
    torch.testing.assert_close(own.metrics["pinball"](output, y), metric("quantile:0.9", "regression")(output, y))
    (tmp_path / "my_metrics.py").unlink()
    with pytest.raises(SpecError, match=r"task\.metric: the file .*my_metrics\.py does not exist"):
        describe(spec.task)


def test_what_a_file_does_not_hold_is_refused(tmp_path: Path):
    (tmp_path / "some_metrics.py").write_text(OWN)
    own = Digits(metric=f"{tmp_path}/some_metrics.py:pinball", direction="minimize")
    assert own.direction == "minimize"
    with pytest.raises(SpecError, match=r"task\.metric: .*: has no function 'pinbal' \(did you mean 'pinball'\?\)"):
        Digits(metric=f"{tmp_path}/some_metrics.py:pinbal", direction="minimize")
    (tmp_path / "broken_metrics.py").write_text("1 / 0\n")
    with pytest.raises(TaskError, match=r"broken_metrics\.py:1: ZeroDivisionError"):
        Digits(metric=f"{tmp_path}/broken_metrics.py:f", direction="minimize")


def test_the_named_metric_comes_first_and_that_of_the_kind_stays(tmp_path: Path):
    images = Images(str(write_folders(tmp_path / "x", each=20)), metric="log_loss")
    assert (images.metric, images.direction, list(images.metrics)) == ("log_loss", "minimize", ["log_loss", "accuracy"])
    assert list(Digits(metric="auc").metrics) == ["auc", "accuracy"]
    assert list(Digits().metrics) == ["accuracy"]


def test_the_loss_follows_a_metric_of_quantiles(tmp_path: Path):
    path = str(write_table(tmp_path / "t.csv", table()))
    task = Table(path, "number", metric="quantile:0.9")
    _, y = task.data("train")
    std = y.std(correction=0)
    loss = task.loss(y - std, y)
    torch.testing.assert_close(loss, torch.full((len(y),), 0.9), rtol=1e-4, atol=1e-4)
    assert pinball_each(torch.tensor([-1.0, 1.0]), 0.9).tolist() == pytest.approx([0.9, 0.1])
    names = [baseline.name for baseline in task.baselines(0)]
    assert names[0] == "always the 0.9 quantile"
    boosted = prediction_of(fit_baseline(task, task.baselines(0)[-1], 0), task, task.data("train")[0], y.shape[1:])
    assert (y <= boosted).float().mean() > 0.8
    absolute = Table(path, "number", metric="mae")
    torch.testing.assert_close(absolute.loss(y - std, y), torch.ones(len(y)), rtol=1e-4, atol=1e-4)


def test_a_study_is_searched_and_scored_by_it(tmp_path: Path):
    path = write_table(tmp_path / "t.csv", table(120))
    study = own_study(tmp_path / "run", {"kind": "table", "path": str(path), "target": "answer", "metric": "auc"})
    from lab.record.folder import read_json

    ensemble = read_json(study.record.folder / "ensemble.json")
    assert ensemble["metric"] == "auc"
    assert set(ensemble["chosen"]["test"]) == {"auc", "accuracy", "nll", "calibration_error"}
    assert ensemble["baselines"][0]["test"]["auc"] == 0.5
    assert all(0.5 <= b["test"]["auc"] <= 1 for b in ensemble["baselines"])


def test_labels_are_scored_at_a_half_where_an_earlier_version_began(tmp_path: Path):
    frame = table(120).assign(a=lambda f: (f["number"] > 1) * 1, b=lambda f: (f["letter"] == "x") * 1)
    path = str(write_table(tmp_path / "t.csv", frame.drop(columns="answer")))
    task = Table(path, ["a", "b"])
    assert isinstance(task.metrics["micro_f1"], Decided)
    fitted = dict(task.fitted())
    again = Table(path, ["a", "b"])
    again.restore(fitted)
    assert isinstance(again.metrics["micro_f1"], Decided)
    del fitted["thresholds"]
    again.restore(fitted)
    assert not isinstance(again.metrics["micro_f1"], Decided)
    labels = (np.arange(20)[:, None] % [2, 3] == 0).astype(np.int64)
    np.savez(tmp_path / "x.npz", x=pixels(20), y=labels)
    images = Images(str(tmp_path / "x.npz"))
    assert isinstance(images.metrics["micro_f1"], Decided)
    images.restore({name: value for name, value in images.fitted().items() if name != "thresholds"})
    assert not isinstance(images.metrics["micro_f1"], Decided)
