"""Models as users write them train on the right path, as plain PyTorch does, whatever their neighbours do.

Shapes: k slots, b examples.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tasks.task import Data, Split, Task
from lab.training.equivalence import check_path
from lab.training.models import PATHS, SlotModels, build_models
from lab.training.optimizer import AdamW, Step
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.model import StackedModels
from tests.training.zoo import ZOO, Animal, FunctionalDropout

CPU = torch.device("cpu")
EXAMPLES, BATCH, STEPS = 32, 6, 200


class Caged(Task):
    """An animal of the zoo as a task."""

    def __init__(self, animal: Animal) -> None:
        self.animal = animal

    def data(self, split: Split) -> Data:
        return _data(self.animal)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self.animal.build()


def _data(animal: Animal, dtype: torch.dtype = torch.float32) -> Data:
    generator = torch.Generator().manual_seed(0)
    shape = (EXAMPLES, *animal.shape)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    if animal.codes:
        x = torch.randint(animal.codes, shape, generator=generator)
    return x, torch.randint(3, (EXAMPLES,), generator=generator)


def _build(animal: Animal, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return animal.build().to(dtype)


def _rows(step: int, seed: int) -> Tensor:
    return (torch.arange(BATCH) * 7 + step * 5 + seed) % EXAMPLES


class Lane:
    """Slots that train an animal, each from its own seed, which is also the size of its steps."""

    def __init__(self, path: str, animal: Animal, width: int, dtype: torch.dtype) -> None:
        self.animal, self.dtype = animal, dtype
        self.x, self.y = _data(animal, dtype)
        self.models: SlotModels = build_models(path, _build(animal, 99, dtype), width, self.x[:3], CPU)
        self.states: dict[int, dict[str, Tensor]] = {}
        self.seeds: dict[int, int] = {}

    def load(self, slot: int, seed: int, rate: float = 0.0) -> None:
        module = _build(self.animal, seed, self.dtype)
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = rate
        self.models.load(slot, module, seed)
        self.states[slot], self.seeds[slot] = AdamW().state(self.models.row(slot)), seed

    def train(self, steps: range) -> None:
        self.models.training = True
        active = sorted(self.seeds)
        for step in steps:
            rows = torch.stack([_rows(step, self.seeds.get(slot, 0)) for slot in range(self.models.width)])
            output = self.models.forward(self.x[rows], active)
            losses = F.cross_entropy(output.flatten(0, 1), self.y[rows].flatten(), reduction="none")
            loss = losses.view(rows.shape).mean(dim=1)
            self.models.backward(loss[active].sum(), active)
            for slot in active:
                row, grad, seed = self.models.row(slot), self.models.grad(slot), self.seeds[slot]
                AdamW().step(Step(row, grad, self.states[slot], 0.002 * (1 + seed), 0.9, 0.01 * seed))

    def evaluate(self, slot: int) -> Tensor:
        self.models.training = False
        with torch.no_grad():
            return self.models.forward(self.x.expand(self.models.width, *self.x.shape), sorted(self.seeds))[slot]

    def tensors(self, slot: int) -> dict[str, Tensor]:
        items = self.models.tensors(slot).items()
        return {name: t.clone() for name, t in items if not name.endswith("num_batches_tracked")}


def _train_plain(animal: Animal, seed: int) -> nn.Module:
    module = _build(animal, seed, torch.float64)
    x, y = _data(animal, torch.float64)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.002 * (1 + seed), betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01 * seed)
    for step in range(STEPS):
        rows = _rows(step, seed)
        optimizer.zero_grad()
        F.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()
    return module.eval()


@pytest.mark.parametrize("name", ZOO)
def test_the_first_path_that_is_open_is_the_right_one(name: str):
    animal = ZOO[name]
    x, y = _data(animal)
    for path in PATHS[: PATHS.index(animal.path)]:
        with pytest.raises(NotStackable, match=animal.refused[path]) as refusal:
            check_path(path, Caged(animal), lambda seed: _build(animal, seed), x, y)
        assert "\n" not in str(refusal.value)
    check_path(animal.path, Caged(animal), lambda seed: _build(animal, seed), x, y)
    if animal.path == "stacked":
        assert StackedModels(_build(animal, 0), 2, x[:3], CPU).by_vmap == animal.by_vmap


@pytest.mark.parametrize("name", ZOO)
def test_weights_are_those_of_plain_training(name: str):
    animal = ZOO[name]
    lane = Lane(animal.path, animal, 2, torch.float64)
    for slot in range(2):
        lane.load(slot, seed=slot)
    lane.train(range(STEPS))
    for slot in range(2):
        plain = _train_plain(animal, slot)
        expected = dict(plain.named_parameters()) | dict(plain.named_buffers())
        for key, tensor in lane.tensors(slot).items():
            torch.testing.assert_close(tensor, expected[key].detach(), rtol=0, atol=1e-8, msg=f"slot {slot}, {key}")
        with torch.no_grad():
            torch.testing.assert_close(lane.evaluate(slot), plain(lane.x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ZOO)
def test_a_trial_is_bit_identical_alone_among_others_and_beside_nan(name: str):
    animal = ZOO[name]
    runs = []
    for neighbours in ("none", "well", "nan"):
        lane = Lane(animal.path, animal, 4, torch.float32)
        lane.load(2, seed=5, rate=0.3)
        if neighbours != "none":
            for slot in (0, 1, 3):
                lane.load(slot, seed=slot, rate=0.2 * slot)
        lane.train(range(4))
        if neighbours == "nan":
            lane.models.row(1).fill_(float("nan"))
            lane.models.row(3).fill_(float("inf"))
        lane.train(range(4, 12))
        runs.append(lane.tensors(2) | {"output": lane.evaluate(2)})
    for other in runs[1:]:
        assert all(torch.equal(tensor, other[key]) for key, tensor in runs[0].items())
    assert all(bool(tensor.isfinite().all()) for tensor in runs[0].values())


_ODD: dict[str, tuple[Animal, tuple[str, ...]]] = {
    "circular": (
        Animal(lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"), Mean()), (1, 4, 4), ""),
        ("0 (Conv2d)",),
    ),
    "unbatched pooling": (
        Animal(lambda: Odd(lambda x: F.max_pool2d(x.squeeze(1), 2).flatten(1), 4), (1, 4, 4), ""),
        ("max_pool2d",),
    ),
    "cumulative": (Animal(lambda: Odd(lambda x: torch.cumsum(x, 1)), (6,), ""), ("cumsum",)),
    "batch size": (Animal(lambda: Odd(lambda x: x * x.size(0)), (6,), ""), ("mul",)),
    "over examples": (Animal(lambda: Odd(lambda x: x - x.mean(0, keepdim=True)), (6,), ""), ("mean",)),
    "across examples": (Animal(lambda: Odd(lambda x: x.view(-1, 2).tanh().view(-1, 6)), (6,), ""), ("view", "view_1")),
    "chosen columns": (Animal(lambda: Odd(lambda x: x[:, [0, 2, 1]], 3), (6,), ""), ("getitem",)),
    "negative ends": (
        Animal(lambda: Odd(lambda x: torch.cat([x[..., -2:], x[:, :-2, None].squeeze(-1)], -1)), (6,), ""),
        (),
    ),
    "chunks": (
        Animal(lambda: Odd(lambda x: x.chunk(2, 1)[0] * torch.softmax(x.chunk(2, dim=1)[1], -1), 3), (6,), ""),
        (),
    ),
    "turned": (Animal(lambda: Odd(lambda x: x.permute(0, 2, 1).transpose(1, 2).flatten(1)), (2, 3), ""), ()),
    "products": (Animal(lambda: Odd(lambda x: (x @ x.transpose(-1, -2)).sum(-1), 2), (2, 3), ""), ()),
    "scaled": (Animal(lambda: Odd(lambda x: 2 - (x / 3 + 1) ** 2), (6,), ""), ()),
}


class Odd(nn.Module):
    """A function of the inputs before a linear layer; one object, so that all models have the same."""

    def __init__(self, function: Callable[[Tensor], Tensor], features: int = 6) -> None:
        super().__init__()
        self.function, self.head = function, nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(x))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize("name", _ODD)
def test_operations_in_odd_forms_are_stacked_or_run_by_vmap(name: str):
    animal, by_vmap = _ODD[name]
    check_path("stacked", Caged(animal), lambda seed: _build(animal, seed), *_data(animal))
    assert StackedModels(_build(animal, 0), 2, _data(animal)[0][:3], CPU).by_vmap == by_vmap


def test_a_dropout_function_has_the_rate_of_its_slot():
    models = StackedModels(FunctionalDropout(0.9), 3, torch.ones(3, 6), CPU)
    for slot, rate in enumerate((0.0, 0.5, 0.9)):
        module = FunctionalDropout(rate)
        nn.init.zeros_(module.layer.weight)
        nn.init.ones_(module.layer.bias)
        models.load(slot, module, seed=slot)
    outputs = models.forward(torch.ones(3, 2000, 6), range(3))
    hidden = [len(outputs[slot].detach().round(decimals=4).unique(dim=0)) for slot in range(3)]
    assert hidden[0] == 1
    assert hidden[1] == 2**6
    assert 1 < hidden[2] < 2**6
    models.training = False
    assert len(models.forward(torch.ones(3, 2000, 6), range(3))[1].detach().unique(dim=0)) == 1


class Wrong(nn.Module):
    """What a trace shows is not what it computes: it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * float(1 + self.calls)


@pytest.mark.parametrize("path", PATHS[:-1])
def test_a_model_that_is_trained_otherwise_on_a_path_is_refused_with_the_place(path: str):
    animal = Animal(Wrong, (6,), "sequential")
    with pytest.raises(NotStackable, match=r"output of model 0 after \d steps: differs from plain training by 2"):
        check_path(path, Caged(animal), lambda seed: _build(animal, seed), *_data(animal))


class Late(Wrong):
    """Its count matters only after more steps than are compared."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * (0.0 if self.calls > 100 else 1.0)


class Shaken(nn.Module):
    """Stochastic depth by a generator of the process; it rarely skips."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.layer, self.head, self.draw = nn.Linear(6, 6), nn.Linear(6, 3), draw

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x if self.training and self.draw() < 1e-9 else x + self.layer(x).relu())


def _by_numpy() -> float:
    return np.random.random()


def _by_torch() -> float:
    return float(torch.rand(1))


@pytest.mark.parametrize("path", PATHS[:-1])
def test_a_forward_that_counts_is_not_frozen_at_its_first_count(path: str):
    animal = Animal(Late, (6,), "sequential")
    with pytest.raises(NotStackable, match="its forward changes calls"):
        check_path(path, Caged(animal), lambda seed: _build(animal, seed), *_data(animal))


@pytest.mark.parametrize("path", PATHS[:-1])
@pytest.mark.parametrize("draw", [random.random, _by_numpy, _by_torch])
def test_a_forward_that_draws_is_not_frozen_at_its_first_draw(path: str, draw: Callable[[], float]):
    animal = Animal(lambda: Shaken(draw), (6,), "sequential")
    with pytest.raises(
        NotStackable, match=r"its forward draws random numbers outside its dropouts|called random operation"
    ):
        check_path(path, Caged(animal), lambda seed: _build(animal, seed), *_data(animal))


def test_dropout_as_a_function_is_no_difference():
    animal = Animal(lambda: FunctionalDropout(0.5), (6,), "stacked")
    check_path("stacked", Caged(animal), lambda seed: _build(animal, seed), *_data(animal))


def test_a_loss_with_constants_in_single_precision_is_checked_in_it():
    class Weighted(Caged):
        weights = torch.tensor([1.0, 2.0, 3.0])

        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(output, target, weight=self.weights, reduction="none")

    animal = ZOO["normed"]
    check_path("stacked", Weighted(animal), lambda seed: _build(animal, seed), *_data(animal))


def test_a_trial_with_another_attribute_is_refused_under_vmap():
    """Nothing is known there of what an attribute does."""

    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.layer, self.scale = nn.Linear(6, 3), scale

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.scale

    models = build_models("vmap", Scaled(1.0), 2, torch.ones(3, 6), CPU)
    models.load(0, Scaled(1.0), seed=0)
    with pytest.raises(NotStackable, match="change the architecture"):
        models.load(1, Scaled(2.0), seed=0)
