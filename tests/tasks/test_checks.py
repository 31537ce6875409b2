"""The contract suite: a good task passes each point, and one that breaks a point is told which and how."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.checks import check_task, contract_suite
from lab.tasks.task import Data, Split, Task, accuracy, micro_f1, rmse

SEEDS = {"train": 0, "valid": 1, "test": 2}


class Good(Task):
    """Two blobs."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(SEEDS[split])
        y = torch.arange(40) % 2
        return torch.randn(40, 3, generator=generator) + 2 * y[:, None], y


class Several(Good):
    """Two labels."""

    kind = "multilabel"
    metric = "micro_f1"
    metrics = {"micro_f1": micro_f1}  # noqa: RUF012

    def data(self, split: Split) -> Data:
        x, y = super().data(split)
        return x, torch.stack([y, 1 - y], dim=1).float()


class Values(Good):
    """A regression with two values, one of them the other's negative."""

    kind = "regression"
    metric = "rmse"
    direction = "minimize"
    metrics = {"rmse": rmse}  # noqa: RUF012

    def data(self, split: Split) -> Data:
        x, _ = super().data(split)
        return x, torch.stack([x.sum(dim=1), -x.sum(dim=1)], dim=1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean(dim=1)


class Augmented(Good):
    """Noise on the inputs, from draws."""

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> Any:
        return random.normal(size=(examples, 3)).astype(np.float32)

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return x + 0.1 * draws, y


def _broken(base: type[Task] = Good, **attributes: Any) -> Task:
    return type("Bad", (base,), attributes)()


def _failures(task: Task) -> dict[str, str]:
    return {finding.name: finding.said for finding in contract_suite(task, {}) if not finding.passed}


class Parts(Good):
    """A class of three for each of an example's three numbers."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 9), nn.Unflatten(1, (3, 3)))

    def data(self, split: Any) -> tuple[Tensor, Tensor]:
        x = super().data(split)[0]
        return x, (x > 0).long() + (x > 1).long()


class Pixels(Good):
    """A yes or no for each of two times two pixels."""

    kind = "multilabel"
    metric = "micro_f1"
    metrics: Mapping[str, Any] = {"micro_f1": micro_f1}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2)))

    def data(self, split: Any) -> tuple[Tensor, Tensor]:
        x = super().data(split)[0]
        return x, torch.stack([x[:, :2] > 0, x[:, 1:] > 0], dim=1).float()


@pytest.mark.parametrize("task", [Good, Several, Values, Augmented, Parts, Pixels])
def test_good_tasks_pass_every_point(task: type[Task]):
    findings = list(contract_suite(task(), {}))
    assert [f"{f.name}: {f.said}" for f in findings if not f.passed] == []
    assert len(findings) == 9
    assert all(f.said for f in findings)


class Restless(Good):
    """Draws its data anew each time."""

    def data(self, split: Split) -> Data:
        x, y = super().data(split)
        return x + torch.rand(1), y


class Overlapping(Good):
    """Validates on training examples."""

    def data(self, split: Split) -> Data:
        x, y = super().data("train")
        return (x[:10], y[:10]) if split == "valid" else super().data(split)


class Unseeded(Good):
    """Draws its weights from numpy."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        model = super().model(params)
        with torch.no_grad():
            model[0].weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=(8, 3))))  # type: ignore[index]
        return model


class Stuck(Good):
    """Its loss has no gradient in what is trained."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output * 0, target)


class Unlikely(Good):
    """Predicts logits where probabilities are asked for."""

    def predict(self, output: Tensor) -> Tensor:
        return output


class Forgetful(Good):
    """Fits what JSON cannot hold."""

    def fitted(self) -> Mapping[str, Any]:
        return {"mean": np.zeros(3)}

    def restore(self, fitted: Mapping[str, Any]) -> None:
        return


class Endless(Forgetful):
    """Fits what JSON cannot hold either."""

    def fitted(self) -> Mapping[str, Any]:
        return {"mean": float("nan")}


class Mute(Good):
    """Fits something that it cannot take back."""

    def fitted(self) -> Mapping[str, Any]:
        return {"mean": 1.0}


class Rooted(Good):
    """Holds what cannot travel."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Wild(Good):
    """Raises something of its own when it is asked to predict."""

    def predict(self, output: Tensor) -> Tensor:
        raise ZeroDivisionError("by\nmine")


@pytest.mark.parametrize(
    ("task", "point", "said"),
    [
        (Restless, "the same data whenever they are asked for", "data('train') gave something else the second time"),
        (Overlapping, "splits share no examples", "10 of 10 examples of valid are also in train: its score would be"),
        (
            Unseeded,
            "the same seed gives the same model",
            "two models built after the same torch.manual_seed differ",
        ),
        (Stuck, "training steps lower the loss on a few examples", "30 AdamW steps at 0.003 on 40 examples took the "),
        (Unlikely, "predictions can be averaged", "predict: probabilities of an example do not add up to 1"),
        (Wild, "predictions can be averaged", "ZeroDivisionError: by mine"),
        (Forgetful, "what it fitted survives JSON", "fitted: gave what JSON cannot hold (Object of type ndarray"),
        (Endless, "what it fitted survives JSON", "fitted: gave what JSON cannot hold ("),
        (Mute, "what it fitted survives JSON", "Mute: has nothing to restore"),
        (Rooted, "it can travel to a worker", "cannot be pickled ("),
    ],
)
def test_what_breaks_a_point_alone_fails_that_point_alone(task: type[Task], point: str, said: str):
    failures = _failures(task())
    assert list(failures) == [point]
    assert failures[point].startswith(said)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_nothing_else_is_tried_where_data_and_model_do_not_fit(split: str):
    def data(self: Task, asked: Split) -> Data:
        x, y = Good().data(asked)
        return (x * float("nan") if asked == split else x), y

    (finding,) = contract_suite(_broken(data=data), {})
    assert (finding.passed, finding.name) == (False, "data, model, loss and metrics fit together")
    assert finding.said == f"Bad.data('{split}'): NaN or infinity in the inputs (40 of 40 examples)"


class Shared(Good):
    """Gives one model to everybody."""

    only = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self.only


class Growing(nn.Linear):
    """Makes a parameter when it is first called."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(2))
        return super().forward(x) * self.scale


class Mixed(nn.Linear):
    """Its filter is complex."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.filter = nn.Parameter(torch.ones(2, dtype=torch.complex64))


def _rounds(output: Tensor, target: Tensor) -> Tensor:
    return accuracy(output.round_(), target)


def _draws(shape: tuple[int, ...]) -> Any:
    return lambda self, examples, random, params: np.zeros(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("base", "attributes", "message"),
    [
        (Good, {"kind": "ranking"}, "Bad.kind: 'ranking' is not 'classification', 'multilabel' or 'regression'"),
        (Good, {"model_input": lambda self, x: x[:2]}, "Bad.model_input: must give one input per example"),
        (Good, {"model_input": lambda self, x: x.numpy()}, "Bad.model_input: must give one input per example"),
        (Shared, {}, "Bad.model: gives the same parameters twice: build a new model in it, or trials share"),
        (Good, {"model": lambda self, p: Growing(3, 2)}, "Bad.model: makes parameters in forward (scale): make them "),
        (Good, {"draw": lambda self, *rest: 3}, "Bad.draw: must give an array of 4 rows; got int"),
        (Good, {"draw": _draws((4,))}, "Bad.draw: must give an array of 4 rows; got (4,)"),
        (Good, {"draw": _draws((3, 2))}, "Bad.draw: must give an array of 4 rows; got (3, 2)"),
        (Augmented, {"augment": lambda self, x, y, d: (x[..., :2], y)}, "Bad.augment: changed the inputs' shape from "),
        (Augmented, {"augment": lambda self, x, y, d: (x, y[0])}, "Bad.augment: gave targets of shape (4,)"),
        (Augmented, {"augment": lambda self, x, y, d: x[9]}, "Bad.augment: IndexError: "),
        (Good, {"data": lambda self, s: (Good().data(s)[0], torch.rand(40))}, "Bad.data: classification needs whole-n"),
        (Good, {"data": lambda self, s: (Good().data(s)[0], torch.arange(40) % 5)}, "Bad.data: classes 0 to 4 do not "),
        (Good, {"model": lambda self, p: nn.Linear(3, 1)}, "Bad.model: classification needs logits [n, c], c >= 2; "),
        (
            Parts,
            {"model": lambda self, p: nn.Linear(3, 8)},
            "Bad.model: classification needs logits [n, c, 3], c >= 2; ",
        ),
        (
            Parts,
            {"data": lambda self, s: (Parts().data(s)[0], torch.arange(80).view(40, 2) % 3)},
            "Bad.model: classification ne",
        ),
        (
            Pixels,
            {"model": lambda self, p: nn.Linear(3, 4)},
            "Bad.model: multilabel needs logits [n, 2, 2]; got (4, 4)",
        ),
        (Several, {"data": Good.data}, "Bad.data: multilabel needs targets [n, c] of 0 and 1; got torch.int64 (40,)"),
        (Several, {"model": lambda self, p: nn.Linear(3, 3)}, "Bad.model: multilabel needs logits [n, 2]; got (4, 3)"),
        (
            Good,
            {"metrics": {"accuracy": accuracy, "valid_loss": accuracy}},
            "Bad.metrics: 'valid_loss' is what lab call",
        ),
        (Good, {"metrics": {"accuracy": _rounds}}, "Bad.metrics['accuracy']: changes the outputs in place"),
        (Good, {"model": lambda self, p: Mixed()}, "Bad.model: has parameters of several dtypes (torch.complex64, to"),
        (
            Several,
            {"data": lambda self, s: (Good().data(s)[0], torch.rand(40, 2))},
            "Bad.data: multilabel needs targets [n, c] of 0 and 1; got torch.float32 (40, 2)",
        ),
    ],
)
def test_hooks_that_do_not_fit_are_refused_in_one_line(base: type[Task], attributes: dict[str, Any], message: str):
    with pytest.raises(TaskError) as caught:
        check_task(_broken(base, **attributes), {})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_few_rows_may_be_alike_by_chance():
    def data(self: Task, split: Split) -> Data:
        generator = torch.Generator().manual_seed(SEEDS[split])
        x = torch.randn(200, 3, generator=generator)
        x[0] = 0.5
        return x, torch.arange(200) % 2

    (finding,) = [f for f in contract_suite(_broken(data=data), {}) if f.name == "splits share no examples"]
    assert (finding.passed, finding.said) == (True, "1 of valid are also in train, 1 of test are also in train")


class Mixing(Values):
    """Outputs [n, 1] against targets [n]: every example's loss is against every target."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(3, 1)

    def data(self, split: Split) -> Data:
        x, y = super().data(split)
        return x, y[:, 0]


class Shuffled(Good):
    """Splits anew in every process."""

    def __init__(self) -> None:
        self._order = torch.randperm(40)

    def data(self, split: Split) -> Data:
        x, y = super().data(split)
        return x[self._order], y[self._order]


@pytest.mark.parametrize(
    ("task", "point", "said"),
    [
        (
            Mixing,
            "loss and metrics set an output against its own target",
            r"alone and .* among others: do the shapes of outputs \(4, 1\) and",
        ),
        (Shuffled, "the same data whenever they are asked for", "gave something else the second time"),
    ],
)
def test_what_only_another_look_shows_is_told(task: type[Task], point: str, said: str):
    failed = [f for f in contract_suite(task(), {}, task) if not f.passed]
    assert [f.name for f in failed] == [point]
    assert re.search(said, failed[0].said)


def test_what_a_model_takes_out_of_its_hyperparameters_is_there_the_next_time():
    def model(self: Any, params: dict[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(3, params.pop("hidden")), nn.ReLU(), nn.LazyLinear(2))

    params = {"hidden": 5}
    failed = [f.name for f in contract_suite(_broken(model=model), params) if not f.passed]
    assert failed == ["it can travel to a worker"]  # of a class that is no module's
    assert params == {"hidden": 5}
