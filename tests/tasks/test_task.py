"""A task that breaks its contract is refused in one line that says where."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.checks import check_task
from lab.tasks.task import Data, Split, Task, accuracy, trial_function


class Good(Task):
    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))

    def data(self, split: Split) -> Data:
        return torch.zeros(6, 3), torch.arange(6) % 2


def _with_data(x: Any, y: Any) -> type[Task]:
    return type("Bad", (Good,), {"data": lambda self, split: (x, y)})


def _with(**attributes: Any) -> type[Task]:
    return type("Bad", (Good,), attributes)


X, Y = torch.zeros(6, 3), torch.arange(6) % 2
NAN_X = X.clone()
NAN_X[2:4, 1] = float("nan")


def _raise(*args: Any) -> Any:
    raise FileNotFoundError("no such file:\n  train.csv")


def _negative(self: Task, split: Split) -> Data:
    return -1 - X.abs(), Y


def test_a_good_task_passes():
    check_task(Good(), {})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (_with_data(NAN_X, Y), "Bad.data('train'): NaN or infinity in the inputs (2 of 6 examples)"),
        (
            _with_data(X, torch.full((6,), float("inf"))),
            "Bad.data('train'): NaN or infinity in the targets (6 of 6 exa",
        ),
        (_with_data(X, Y[:5]), "Bad.data('train'): 6 inputs but 5 targets"),
        (_with_data(X[:0], Y[:0]), "Bad.data('train'): is empty"),
        (_with_data(X, torch.ones(6, dtype=torch.int64)), "Bad.data('train'): has one class only (1); at least two"),
        (_with_data(X.numpy(), Y), "Bad.data('train'): must give two tensors; got ndarray and Tensor"),
        (_with_data(X, torch.tensor(1)), "Bad.data('train'): must give tensors of examples; got a scalar"),
        (_with(data=lambda self, split: X), "Bad.data('train'): must give (inputs, targets): too many values"),
        (_with(data=lambda self, split: None), "Bad.data('train'): must give (inputs, targets): "),
        (_with(data=_raise), "Bad.data('train'): FileNotFoundError: no such file: train.csv"),
        (
            _with(loss=lambda self, output, target: nn.functional.cross_entropy(output, target)),
            "Bad.loss: must give one value per example, shape (4,); got () (reduction='none'?)",
        ),
        (
            _with(loss=lambda self, output, target: 0.5),
            "Bad.loss: must give one value per example, shape (4,); got floa",
        ),
        (
            _with(loss=lambda self, output, target: output),
            "Bad.loss: must give one value per example, shape (4,); got (",
        ),
        (_with(metric="f1"), "Bad.metric: 'f1' is not one of its metrics ['accuracy']"),
        (_with(direction="up"), "Bad.direction: 'up' is not 'maximize' or 'minimize'"),
        (_with(metrics={"accuracy": lambda o, t: o}), "Bad.metrics['accuracy']: must give a scalar; got shape (4, 2)"),
        (
            _with(metrics={"accuracy": lambda o, t: [1.0, 2.0]}),
            "Bad.metrics['accuracy']: must give a scalar; got shape",
        ),
        (_with(metrics={"accuracy": _raise}), "Bad.metrics['accuracy']: FileNotFoundError: "),
        (_with(model=lambda self, params: nn.Sequential(nn.ReLU())), "Bad.model: has no trainable parameters"),
        (_with(model=lambda self, params: torch.relu), "Bad.model: gave builtin_function_or_method, not a torch.nn.Mo"),
        (_with(model=lambda self, params: params["depth"]), "Bad.model: KeyError: 'depth'"),
        (_with(model=lambda self, params: sys.exit(3)), "Bad.model: SystemExit: 3"),
        (
            _with(model=lambda self, params: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)), data=_negative),
            "Bad.model: changes its inputs in place, so later epochs see other data; work on a copy",
        ),
        (
            _with(model=lambda self, params: nn.Linear(4, 2)),
            "Bad.model: on inputs of shape (4, 3), torch.float32: RuntimeError: mat1 ",
        ),
    ],
)
def test_a_bad_task_is_refused_in_one_line(bad: type[Task], message: str):
    with pytest.raises(TaskError) as caught:
        check_task(bad(), {})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_only_the_validation_split_may_hold_one_class():
    def data(self: Task, split: Split) -> Data:
        return X, Y if split == "train" else torch.zeros(6, dtype=torch.int64)

    check_task(_with(data=data)(), {})


def test_validation_data_are_checked_as_well():
    def data(self: Task, split: Split) -> Data:
        return (X if split == "train" else NAN_X), Y

    with pytest.raises(TaskError, match=r"Bad\.data\('valid'\): NaN"):
        check_task(_with(data=data)(), {})


def test_a_regression_may_have_one_value_and_real_targets():
    check_task(
        _with(
            kind="regression",
            metric="mse",
            direction="minimize",
            metrics={"mse": lambda o, t: ((o[:, 0] - t) ** 2).mean()},
            loss=lambda self, output, target: (output[:, 0] - target) ** 2,
            data=lambda self, split: (X, torch.ones(6)),
        )(),
        {},
    )


def test_the_random_state_of_the_process_stays_as_it_was():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    check_task(Good(), {})
    assert torch.equal(torch.get_rng_state(), before)


def test_accuracy_and_predictions_have_known_values():
    output = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 0.0]])
    assert accuracy(output, torch.tensor([0, 1, 1, 1])).item() == 0.5
    torch.testing.assert_close(Good().predict(output), output.softmax(1))
    regression: Task = _with(kind="regression")()
    torch.testing.assert_close(regression.predict(output), output)


def test_the_default_loss_is_one_value_per_example():
    output, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    loss: Tensor = Good().loss(output, target)
    torch.testing.assert_close(loss, -output.log_softmax(1)[torch.arange(5), target])


def test_a_trial_function_needs_a_direction():
    with pytest.raises(TaskError, match="direction 'up' is not 'maximize' or 'minimize'"):
        trial_function(metric="score", direction="up")  # type: ignore[arg-type]
