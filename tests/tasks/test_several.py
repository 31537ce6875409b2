"""Inputs that are several tensors: read, trained and predicted from as one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset

import lab
from lab.errors import TaskError
from lab.study.distill import distill
from lab.study.model_folder import export_model
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.checks import check_task
from lab.tasks.reading import as_tensors
from lab.tasks.several import Row, Unpacked, apart, are_several, as_one, packed, recipe_of, row_of
from lab.tasks.task import Task
from lab.training.models import build_models

WORDS = 50


def _inputs(n: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "ids": torch.randint(0, WORDS, (n, 5), generator=random),
        "image": torch.randn(n, 2, 3, generator=random),
        "weight": torch.rand(n, generator=random),
    }


def _classes(inputs: Mapping[str, Tensor]) -> Tensor:
    return ((inputs["ids"] < WORDS // 2).sum(dim=1) > 2).long()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(WORDS, 4), nn.Linear(10, 2)

    def forward(self, ids: Tensor, image: Tensor, weight: Tensor) -> Tensor:
        words = (self.words(ids) * weight[:, None, None]).mean(dim=1)
        output: Tensor = self.last(torch.cat([words, image.flatten(1)], dim=1))
        return output


class Named(Task):
    """Words, an image and a number of each example, by name."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return Net()

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        return [["words.weight"], [name for name, _ in model.named_parameters() if name != "words.weight"]]

    def data(self, split: Any) -> Any:
        inputs = _inputs(120, ["train", "valid", "test"].index(split))
        return inputs, _classes(inputs)


class InOrder(Named):
    def data(self, split: Any) -> Any:
        inputs = _inputs(120, ["train", "valid", "test"].index(split))
        return tuple(inputs.values()), _classes(inputs)


class _Rows(Dataset[Any]):
    """Examples as data sets of Hugging Face have them: columns, one of which is the target."""

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        self._inputs, self._labels = inputs, _classes(inputs)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: part[index] for name, part in self._inputs.items()} | {"labels": self._labels[index]}


class FromRows(Named):
    def data(self, split: Any) -> Any:
        return _Rows(_inputs(120, ["train", "valid", "test"].index(split)))


@pytest.mark.parametrize("kind", [Named, InOrder, FromRows])
def test_the_model_is_given_what_the_data_gave(kind: type[Task]):
    task = kind()
    x, y = task.data("train")
    assert x.shape == (120, 5 + 6 + 1)
    assert torch.equal(x, task.data("train")[0])
    inputs = _inputs(120)
    assert torch.equal(y, _classes(inputs))
    model = build_model(task, {}, 0)
    assert isinstance(model, Unpacked)
    assert torch.equal(model(x), model.net(**inputs))
    assert {name for group in task.groups(model) for name in group} == dict(model.named_parameters()).keys()
    check_task(task, {})
    again = pickle.loads(pickle.dumps(task))
    assert isinstance(again.model({}), Unpacked), "also where it has not read its data yet"


def test_models_of_several_inputs_are_stacked():
    task = Named()
    x, models = task.data("train")[0][:6], [build_model(task, {}, seed) for seed in range(2)]
    stacked = build_models("stacked", build_model(task, {}, 0), 2, x, torch.device("cpu"))
    for slot, model in enumerate(models):
        stacked.load(slot, model, 0)
    output = stacked.forward(x.expand(2, *x.shape), [0, 1])
    torch.testing.assert_close(output, torch.stack([model(x) for model in models]))


def test_what_is_for_one_input_is_refused():
    class Scaled(Named):
        def model_input(self, x: Tensor) -> Tensor:
            return x / 2

    with pytest.raises(TaskError, match=r"Scaled\.model_input: is for one input, and the data has several; do it in"):
        check_task(Scaled(), {})


_DTYPES = st.sampled_from([torch.uint8, torch.int16, torch.int64, torch.bool, torch.float32, torch.float64])


@given(st.lists(st.tuples(st.lists(st.integers(1, 3), max_size=2), _DTYPES), min_size=1, max_size=4), st.integers(1, 4))
@settings(max_examples=40)
def test_every_number_comes_back(parts: list[tuple[list[int], torch.dtype]], n: int):
    random = torch.Generator().manual_seed(0)
    inputs = tuple((torch.randn(n, *shape, generator=random) * 9).abs().to(dtype) for shape, dtype in parts)
    task = Named()
    x = packed(task, inputs, "x")
    row = row_of(task)
    assert row is not None
    for part, back in zip(inputs, apart(x, row.shapes, row.dtypes), strict=True):
        assert part.shape == back.shape
        if not part.is_floating_point():
            assert part.dtype == back.dtype
        assert torch.equal(part.to(torch.float32), back.to(torch.float32))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.zeros(3, 2), torch.zeros(4)), r"several inputs must have as many rows each; got \(3, 2\), \(4,\)"),
        ((torch.zeros(()), torch.zeros(4)), "several inputs must have as many rows each"),
        ((torch.zeros(2, 2), torch.tensor([1, 2**24 + 1])), "input 'arr_1' has whole numbers above 16,777,216 beside"),
        ((torch.zeros(2, 2), torch.zeros(2, dtype=torch.complex64)), "input 'arr_1' is complex, beside inputs of"),
        ({0: torch.zeros(2), "0": torch.zeros(2)}, "two inputs have the same name: 0, 0"),
    ],
)
def test_what_cannot_be_one_is_refused(inputs: Any, message: str):
    with pytest.raises(TaskError, match=f"^x: {message}"):
        packed(Named(), inputs, "x")


def test_later_inputs_must_lie_alike():
    task = Named()
    task.data("train")
    with pytest.raises(
        TaskError, match=r"^x: gives inputs ids \[4\]; others of this task are ids \[5\], image \[2, 3\]"
    ):
        packed(task, {"ids": torch.zeros(2, 4)}, "x")
    inputs = _inputs(3)
    turned = dict(reversed(inputs.items()))
    assert torch.equal(packed(task, turned, "x"), packed(task, inputs, "x")), "names say which is which"
    assert packed(task, inputs | {"ids": inputs["ids"].double()}, "x").dtype == torch.float32
    with pytest.raises(TaskError, match=r"^x: input 'ids' has values that are no int64, as others of this task are"):
        packed(task, inputs | {"ids": inputs["ids"] + 0.5}, "x")
    assert not are_several([1.0, 2.0])
    assert not are_several(torch.zeros(2))


class _One(Task):
    """One input, as most tasks have."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(2, 2)

    def data(self, split: Any) -> Any:
        return torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])


def test_what_is_asked_does_not_change_what_the_data_are():
    one, several = _One(), Named()
    rows = [np.ones(2, np.float32), np.zeros(2, np.float32)]
    assert torch.equal(as_one(one, rows, "predict"), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(TaskError, match=r"^predict: a dict is no inputs \[n, \.\.\.\]; give an array of numbers"):
        as_one(one, {"a": torch.zeros(3), "b": torch.zeros(3)}, "predict")
    with pytest.raises(TaskError, match=r"^predict: a Series is no inputs .*series\.to_frame\(\)\.T"):
        as_one(one, pd.Series([1.0]), "predict")
    assert row_of(one) is None
    with pytest.raises(TaskError, match=r"^predict: gives inputs weight \[\]; others of this task are ids"):
        as_one(several, {"weight": torch.zeros(3)}, "predict")
    inputs = _inputs(3)
    turned = dict(reversed(inputs.items()))
    assert torch.equal(as_one(several, turned, "predict"), as_one(Named(), inputs, "predict"))


def test_made_up_inputs_are_of_their_kind():
    task = Named()
    x = task.data("train")[0]
    made = task.made_up(x, np.random.default_rng(0))
    row = row_of(task)
    assert row is not None
    (ids, image, _), (ids_before, image_before, _) = (apart(one, row.shapes, row.dtypes) for one in (made, x))
    assert torch.equal(ids.to(torch.float32), made[:, :5]), "a word is no mean of two"
    assert not torch.equal(ids, ids_before)
    others = [(set(a.tolist()), set(b.tolist())) for a, b in zip(ids, ids_before, strict=True)]
    assert all(new & old for new, old in others)
    assert (image != image_before).any()


def test_an_input_without_numbers_comes_back():
    shapes = ((0,), (2,))
    assert [tuple(part.shape) for part in apart(torch.zeros(3, 2), shapes, [torch.float32] * 2)] == [(3, 0), (3, 2)]
    made: dict[str, Any] = {"torch": torch}
    exec(recipe_of(Row((), shapes, (torch.float32,) * 2)), made)
    assert made["x"].shape == (2, 2)


def test_columns_by_name_are_one_input_and_a_target_in_any_order():
    rows = [{"label": i % 2, "x": torch.ones(3)} for i in range(4)]
    x, y = as_tensors(rows, "mine")
    assert x.shape == (4, 3)
    assert y.tolist() == [0, 1, 0, 1]
    unsaid = [{"a": 1.0, "b": 2.0, "target": 1}]
    with pytest.raises(TaskError, match="mine: gives examples of a, b, target; call the target 'labels' or 'label'"):
        as_tensors(unsaid, "mine")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    space = lab.Space(max_lr=lab.Float(1e-3, 1e-1, log=True))
    folder = tmp_path_factory.mktemp("several") / "run"
    short: dict[str, Any] = {
        "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
        "final": {"epochs": 1, "seeds": 1, "controls": "none"},
        "bounds": {"trial_seeds": 0},
    }
    study = Study(task=Named(), space=space, trials=2, epochs=1, batch_size=16, folder=folder, **short)
    study.run(engine="local")
    return study


def test_a_study_predicts_from_several_inputs(study: Study, tmp_path: Path):
    ensemble, inputs = study.result.ensemble, _inputs(6, 7)
    expected = ensemble.predict(inputs)
    np.savez(tmp_path / "new.npz", **{name: part.numpy() for name, part in inputs.items()})
    assert torch.allclose(ensemble.predict(ensemble.read(tmp_path / "new.npz").x), expected)
    np.savez(tmp_path / "less.npz", ids=inputs["ids"].numpy())
    with pytest.raises(TaskError, match=r"less\.npz: has arrays \['ids'\]; one named 'image' is needed"):
        ensemble.read(tmp_path / "less.npz")
    with pytest.raises(TaskError, match=r"x\.csv: is not"):
        ensemble.read(tmp_path / "x.csv")


def test_what_is_packed_is_predicted_for_before_the_data_were_read(study: Study):
    x = study.result.ensemble.test_data()[0]
    assert torch.equal(study.result.ensemble.predict(x), study.result.ensemble.predict(_inputs(120, 2)))


def test_one_net_is_taught_of_several_inputs(study: Study, tmp_path: Path):
    made = distill(study, tmp_path / "student", made_up=1, epochs=1, temperatures=(1.0,))
    assert made.rows == 2 * 240


def test_what_a_task_prepares_itself_needs_no_training_data_where_inputs_are_one(tmp_path: Path):
    class Halved(Named):
        def prepare(self, raw: Any) -> Tensor:
            return torch.as_tensor(raw) / 2

        def data(self, split: Any) -> Any:
            raise FileNotFoundError("the training data are gone")

    np.savez(tmp_path / "one.npz", x=np.ones((2, 3)))
    assert torch.equal(Halved().read(tmp_path / "one.npz").x, torch.full((2, 3), 0.5, dtype=torch.float64))


def test_its_model_folder_says_how_inputs_are_laid_out(study: Study, tmp_path: Path):
    ensemble = study.result.ensemble
    export_model(ensemble, study.result.summary, tmp_path / "model", ensemble.test_data()[0])
    made: dict[str, Any] = {"torch": torch}
    exec(ensemble.recipe, made)
    assert made["x"].shape == (2, 12)
    assert ensemble.predict(made["x"]).shape == (2, 2)
