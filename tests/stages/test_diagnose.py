"""What is counted on the test split: against scikit-learn, statsmodels' numbers, and plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from lab.record.artefact import read_artefact, to_json
from lab.record.folder import read_json, write_json
from lab.stages import ensemble, refit
from lab.stages.diagnose import diagnose
from lab.stages.diagnostics import Bin, Diagnostics
from lab.stages.ensemble import Ensembled
from lab.stages.refit import Refitted
from lab.study.study import Study
from lab.tasks.beside import Beside
from lab.tasks.digits import Digits
from lab.tasks.several_targets import Classes, SeveralTargets, Targets, Values
from lab.tasks.task import Task

RANDOM = np.random.default_rng(0)


class Plain(Digits):
    """A task of any kind, without names of its own."""

    def __init__(self, kind: Any = "classification", names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.kind, self.class_names = kind, names

    def show(self, split: Any, index: int) -> dict[str, str]:
        return {"text": f"row {index}"}


def _classes(n: int, c: int, *parts: int) -> tuple[Tensor, Tensor]:
    """Probabilities [n, c, ...] that are often right, and classes [n, ...]."""
    y = torch.from_numpy(RANDOM.integers(0, c, (n, *parts)))
    logits = torch.from_numpy(RANDOM.normal(size=(n, c, *parts)))
    return logits.scatter_add(1, y[:, None], torch.full((n, 1, *parts), 2.0, dtype=torch.float64)).softmax(1), y


def _of(task: Task, prediction: Tensor, target: Tensor, **more: Any) -> tuple[Diagnostics, ...]:
    beside = Beside()
    counted = diagnose(task, prediction, target, beside, **more)
    assert beside.lacks == ()
    return counted


@pytest.mark.parametrize("parts", [(), (3, 2)])
def test_the_confusion_matrix_is_scikit_learns(parts: tuple[int, ...]) -> None:
    prediction, y = _classes(200, 4, *parts)
    (one,) = _of(Plain(names=("a", "b", "c", "d")), prediction, y)
    confusion, said = one.confusion, prediction.argmax(1)
    assert confusion is not None
    expected = confusion_matrix(y.flatten(), said.flatten())
    assert np.array_equal(confusion.counts, expected)
    assert (confusion.examples, confusion.wrong) == (y.numel(), int((said != y).sum()))
    np.fill_diagonal(expected, 0)
    first = confusion.pairs[0]
    assert first.count == expected.max()
    assert expected["abcd".index(first.true), "abcd".index(first.said)] == first.count
    assert first.support == int((y == "abcd".index(first.true)).sum())
    assert [pair.count for pair in confusion.pairs] == sorted(expected[expected > 0], reverse=True)[:10]
    if parts:
        assert first.example is None, "a part of an example is none"
        return
    mine = (y == "abcd".index(first.true)) & (said == "abcd".index(first.said))
    surest = max(np.flatnonzero(mine), key=lambda i: float(prediction[i].max()))
    assert first.example is not None
    assert (first.example.index, first.example.shown) == (surest, {"text": f"row {surest}"})
    assert first.example.said.startswith(first.said)


def test_of_many_classes_the_pairs_are_kept_and_no_matrix() -> None:
    prediction, y = _classes(400, 31)
    (one,) = _of(Plain(), prediction, y)
    confusion, matrix = one.confusion, confusion_matrix(y, prediction.argmax(1))
    assert confusion is not None
    assert (confusion.counts, confusion.names, confusion.classes) == ((), (), 31)
    assert [matrix[int(pair.true), int(pair.said)] for pair in confusion.pairs] == [p.count for p in confusion.pairs]
    np.fill_diagonal(matrix, 0)
    assert confusion.pairs[0].count == matrix.max()


def test_reliability_is_that_of_ten_bins_by_hand() -> None:
    p = torch.tensor([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    (one,) = _of(Plain(), p, torch.tensor([0, 1, 1, 0, 0]))
    reliability = one.reliability
    assert reliability is not None
    low, middle, high = reliability.bins
    assert (low.count, low.right, low.low, low.high) == (1, 1, 0.5, 0.6)
    assert (middle.count, middle.right, middle.confidence) == (1, 1, pytest.approx(0.65))
    assert (high.count, high.right, high.confidence) == (3, 2, pytest.approx(2.87 / 3))
    assert reliability.expected_error == pytest.approx((0.5 + 0.35 + 0.87) / 5)
    assert reliability.lean == pytest.approx((-0.5 - 0.35 + 0.87) / 5)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.277533), (9, 10, 0.595850, 0.982124), (10, 10, 0.722467, 1.0)]
)
def test_wilsons_interval_is_statsmodels(right: int, n: int, low: float, high: float) -> None:
    """`proportion_confint(right, n, method="wilson")` of statsmodels 0.14."""
    assert Bin(0.0, 0.1, n, 0.05, right).interval == pytest.approx((low, high), abs=1e-6)


def test_labels_are_counted_as_scikit_learn_does_by_their_thresholds() -> None:
    p, y = torch.rand(100, 3), (torch.rand(100, 3) < 0.4).float()
    y[:, 2] = 0
    thresholds = torch.tensor([0.3, 0.7, 1.0])
    (one,) = _of(Plain("multilabel", ("u", "v", "w")), p, y, thresholds=thresholds)
    assert one.confusion is one.reliability is None
    precision, recall, f1, support = precision_recall_fscore_support(y, p > thresholds, zero_division=0)
    for i, label in enumerate(one.labels[:2]):
        mine = (label.precision, label.recall, label.f1, label.support)
        assert mine == pytest.approx((precision[i], recall[i], f1[i], support[i]))
    never = one.labels[2]
    assert (never.name, never.precision, never.recall, never.f1) == ("w", None, None, None)


def test_of_very_many_labels_the_commonest_are_kept_in_their_order() -> None:
    y = (torch.arange(120)[None] < torch.arange(1, 121)[:, None]).float()  # the first is the commonest
    (one,) = _of(Plain("multilabel"), y.flip(1), y.flip(1))
    assert [label.name for label in one.labels] == [str(i) for i in range(20, 120)]
    assert one.labels_left_out == 20


def test_values_are_sampled_alike_by_a_seed_and_judged_by_all() -> None:
    y = torch.from_numpy(RANDOM.normal(size=(5000, 2)))
    p = y + torch.from_numpy(RANDOM.normal(0.5, 2.0, size=(5000, 2)))
    task = Plain("regression", ("price", "cost"))
    price, cost = _of(task, p, y, seed=1)
    assert (price.target, cost.target) == ("price", "cost")
    residuals = price.residuals
    assert residuals is not None
    over = (p - y)[:, 0].numpy()
    assert (residuals.values, len(residuals.actual)) == (5000, 1000)
    assert (residuals.mean, residuals.std) == pytest.approx((over.mean(), over.std()))
    assert np.mean((over >= residuals.low) & (over <= residuals.high)) == pytest.approx(0.9, abs=1e-3)
    pairs = {(float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in zip(y[:, 0].tolist(), p[:, 0].tolist(), strict=True)}
    assert set(zip(residuals.actual, residuals.predicted, strict=True)) <= pairs
    assert _of(task, p, y, seed=1) == (price, cost)
    assert _of(task, p, y, seed=2) != (price, cost)


def test_what_cannot_be_compared_is_left_out() -> None:
    regression = Plain("regression")
    assert _of(regression, torch.zeros(5, 2, 7), torch.zeros(5, 7)) == (), "not values of the targets"
    assert _of(regression, torch.full((5,), torch.nan), torch.zeros(5)) == ()
    assert _of(regression, torch.zeros(0), torch.zeros(0)) == ()
    (whole,) = _of(regression, torch.zeros(5, 24), torch.ones(5, 24))
    assert whole.target == "all 24 values"
    assert whole.residuals is not None
    assert (whole.residuals.values, whole.residuals.mean) == (120, -1.0)
    (one,) = _of(Plain(), torch.tensor([[torch.nan, 0.5], [0.4, 0.6]]), torch.tensor([0, 1]))
    assert one.confusion is not None
    assert one.confusion.counts == ((0, 0), (0, 1))


class Rice(SeveralTargets):
    targets = Targets({"disease": Classes(("blast", "healthy")), "age": Values(std=10.0)})

    def model(self, params: Any) -> torch.nn.Module:
        raise NotImplementedError

    def data(self, split: Any) -> Any:
        raise NotImplementedError


def test_each_of_several_targets_is_counted_by_itself() -> None:
    classes, age = torch.tensor([0, 1, 1]), torch.tensor([40.0, 50.0, 60.0])
    logs = torch.tensor([[0.95, 0.05], [0.2, 0.8], [0.7, 0.3]]).log()
    y = Rice.targets.packed({"disease": classes, "age": age})
    disease, years = _of(Rice(), torch.cat([logs, age[:, None] + 2], dim=1), y)
    assert (disease.target, years.target) == ("disease", "age")
    assert disease.confusion is not None
    assert disease.confusion.counts == ((1, 0), (1, 1))
    assert disease.confusion.pairs[0].true == "healthy"
    assert disease.reliability is not None
    assert disease.reliability.bins[-1].confidence == pytest.approx(0.95)
    assert years.residuals is not None
    assert (years.residuals.mean, years.residuals.predicted) == (2.0, (42.0, 52.0, 62.0))


def test_a_show_that_fails_costs_its_examples_alone() -> None:
    class Broken(Plain):
        def show(self, split: Any, index: int) -> dict[str, str]:
            raise ValueError("no picture")

    prediction, y = _classes(50, 3)
    beside = Beside()
    (one,) = diagnose(Broken(), prediction, y, beside)
    assert beside.lacks == ("examples: left out (ValueError: no picture)",)
    assert one.confusion is not None
    assert all(pair.example is None for pair in one.confusion.pairs)


def test_a_study_counts_its_test_rows_and_an_earlier_versions_folder_lacks_them(
    small_study: Study, tmp_path: Any
) -> None:
    record = small_study.record
    for stage, kind in ((ensemble.STAGE, Ensembled), (refit.STAGE, Refitted)):
        artefact: Any = stage.need(record)  # type: ignore[attr-defined]
        (one,) = artefact.diagnostics
        assert one.confusion.examples == 360
        right = one.confusion.examples - one.confusion.wrong
        assert right / 360 == pytest.approx(artefact.test_score)
        assert sum(one.count for one in one.reliability.bins) == 360
        assert to_json(artefact) == read_json(stage.path(record))  # type: ignore[attr-defined]
        earlier = read_json(stage.path(record))  # type: ignore[attr-defined]
        del earlier["diagnostics"]
        write_json(tmp_path / "earlier.json", earlier)
        assert read_artefact(tmp_path / "earlier.json", (kind,)).diagnostics == ()  # type: ignore[attr-defined]
