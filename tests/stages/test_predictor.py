"""What one member of an ensemble predicts: in the precision that its model was trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.stages.one_module import OneModule
from lab.stages.predictor import _apart, member_outputs
from lab.tasks.task import Data, Split, Task
from lab.training.snapshots import pack

NAME = "member.safetensors"


class Plain(Task):
    """Three inputs, two classes, in a precision."""

    def __init__(self, dtype: torch.dtype, lazy: bool = False) -> None:
        self.dtype, self.lazy = dtype, lazy

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.LazyLinear(2) if self.lazy else nn.Linear(3, 2, dtype=self.dtype)

    def data(self, split: Split) -> Data:
        return torch.zeros(4, 3, dtype=self.dtype), torch.tensor([0, 1, 0, 1])


def _saved(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    tensors = {"weight": torch.randn(2, 3, dtype=dtype, generator=random), "bias": torch.zeros(2, dtype=dtype)}
    (folder / NAME).write_bytes(pack(tensors))
    return tensors


F32, F64 = torch.float32, torch.float64


@pytest.mark.parametrize(
    ("precision", "dtype", "lazy"),
    [(F32, F32, False), (F64, F32, False), (F64, F64, False), (F32, F32, True), (F64, F32, True)],
)
def test_a_members_precision_is_its_models(precision: torch.dtype, dtype: torch.dtype, lazy: bool, tmp_path: Path):
    weight = _saved(tmp_path, dtype)["weight"]
    x = torch.randn(5, 3, dtype=precision, generator=torch.Generator().manual_seed(1))
    outputs = member_outputs(Plain(dtype, lazy), tmp_path / NAME, {}, x)
    assert outputs.dtype == torch.float64  # in which members are averaged
    torch.testing.assert_close(outputs, (x.to(dtype) @ weight.T).double().softmax(dim=1))


def test_views_of_an_example_are_averaged_in_their_log_probabilities(tmp_path: Path):
    class Turned(Plain):
        def views(self, x: Tensor) -> Sequence[Tensor]:
            return x, x.flip(-1)

    weight = _saved(tmp_path, torch.float32)["weight"]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    logs = [(view @ weight.T).double().log_softmax(dim=1) for view in (x, x.flip(-1))]
    expected = (sum(logs[1:], logs[0]) / 2).softmax(dim=1)
    task = Turned(torch.float32)
    torch.testing.assert_close(member_outputs(task, tmp_path / NAME, {}, x), expected)
    net = task.model({})
    net.load_state_dict({"weight": weight, "bias": torch.zeros(2)})
    exported = torch.export.export(OneModule(task, [net], [1.0], [1.0], 1.0), (x,)).module()
    torch.testing.assert_close(exported(x), expected.float())


def test_inputs_of_another_shape_and_weights_that_are_gone_are_named(tmp_path: Path):
    _saved(tmp_path, torch.float32)
    with pytest.raises(TaskError, match=r"the model does not take inputs of shape \(5, 7\)"):
        member_outputs(Plain(torch.float32), tmp_path / NAME, {}, torch.zeros(5, 7))
    with pytest.raises(RecordError, match=r"member\.safetensors: cannot be read \(No such file or directory\)"):
        member_outputs(Plain(torch.float32), tmp_path / "none" / NAME, {}, torch.zeros(5, 3))


def test_embedded_numbers_have_names_of_their_own():
    assert _apart(["a.0", "b", "a.0", "a.0 (2)"], 4) == ["a.0", "b", "a.0 (2)", "a.0 (2) (2)"]
    with pytest.raises(TaskError, match="embed: gives 1 names for 2 numbers"):
        _apart(["a"], 2)
