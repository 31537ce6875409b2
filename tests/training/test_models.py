"""Stacked and sequential models train as plain modules do, each by itself, whatever its neighbours do.

Shapes: k slots, b examples.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tasks.digits import Digits
from lab.training.models import SlotModels, build_models
from lab.training.optimizer import AdamW, Step
from lab.training.sequential import SequentialModels
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.model import StackedModels

CPU = torch.device("cpu")
PATHS = ["stacked", "sequential"]


class Residual(nn.Module):
    """What torch.fx can trace beyond a chain: additions, functions, a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = torch.flatten(self.pool(x + torch.tanh(self.block(x))), 1)
        x = self.hidden(x).relu() + x
        return self.head(self.hidden(x))


class Tabular(nn.Module):
    """Codes in the first columns, each with its table; numbers behind them; an output between two bounds."""

    def __init__(self, bounded: bool = False) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(5, 3), nn.Embedding(4, 2, padding_idx=0)])
        self.dropout = nn.Dropout(0.0)
        self.norm = nn.BatchNorm1d(3)
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.BatchNorm1d(8), nn.Linear(8, 3))
        self.bounded = bounded
        self.register_buffer("low", torch.tensor(-1.5))
        self.register_buffer("high", torch.tensor([2.0, 3.0, 2.5]))

    def forward(self, x: Tensor) -> Tensor:
        codes = (x[:, :2].abs() * 2).clamp(0, 3).long()
        parts = [emb(codes[:, i]) for i, emb in enumerate(self.embeddings)]
        h = torch.cat([self.dropout(torch.cat(parts, 1)), self.norm(x[:, 2:])], 1)
        z = self.layers(h)
        if self.bounded:
            return self.low + (self.high - self.low) * torch.sigmoid(z)
        return z


class FastCnn(nn.Module):
    """A small ResNet as people write it for speed: functions instead of layers, a scaled output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.side = nn.Conv2d(4, 2, 1)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.CELU(0.3))
        self.gate = nn.Conv2d(6, 6, 1)
        self.gain = nn.Parameter(torch.full((6, 1, 1), 0.5))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(6, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.stem(x)), inplace=True), 2)
        x = torch.cat((x, self.side(x)), dim=1)
        short, x = x, self.gain * self.block(x)
        x += short
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = self.pool(x).mean((2, 3))
        return self.head(x.view(x.size(0), -1)) * 0.125


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.0), nn.Linear(8, 3)),
        (6,),
        3,
    ),
    "cnn": (lambda: Digits("cnn").model({}), (1, 8, 8), 10),
    "residual": (Residual, (1, 8, 8), 3),
    "tabular": (Tabular, (5,), 3),
    "bounded": (lambda: Tabular(bounded=True), (5,), 3),
    "fast cnn": (FastCnn, (1, 8, 8), 10),
}


def _make(name: str, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name][0]().to(dtype)


def _data(name: str, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    _, shape, classes = MODELS[name]
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, *shape, generator=generator, dtype=dtype)
    return x, torch.randint(classes, (64,), generator=generator)


def _batch(step: int, seed: int, size: int) -> Tensor:
    return (torch.arange(size) * 7 + step * 5 + seed) % 64


def _loss(output: Tensor, y: Tensor) -> Tensor:
    """Mean loss of each slot [k] for outputs [k, b, c]."""
    flat = F.cross_entropy(output.flatten(0, 1), y.flatten(), reduction="none")
    return flat.view(y.shape).mean(dim=1)


class Group:
    """Slots with their optimizer states, trained step by step."""

    def __init__(self, path: str, name: str, width: int, dtype: torch.dtype = torch.float64) -> None:
        self.x, self.y = _data(name, 0, dtype)
        self.models: SlotModels = build_models(path, _make(name, 99, dtype), width, self.x[:3], CPU)
        self.seeds: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self.states: dict[int, dict[str, Tensor]] = {}
        self._name, self._dtype = name, dtype

    def load(self, slot: int, seed: int, rate: float = 0.0) -> None:
        module = _make(self._name, seed, self._dtype)
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = rate
        self.models.load(slot, module, seed)
        self.seeds[slot], self.steps[slot] = seed, 0
        self.states[slot] = AdamW().state(self.models.row(slot))

    def stop(self, slot: int) -> None:
        del self.seeds[slot]

    def step(self, batch: int = 16) -> None:
        self.models.training = True
        active = sorted(self.seeds)
        zero = torch.zeros(batch, dtype=torch.int64)
        index = torch.stack(
            [_batch(self.steps[s], self.seeds[s], batch) if s in self.seeds else zero for s in range(self.models.width)]
        )
        output = self.models.forward(self.x[index], active)
        self.models.backward(_loss(output, self.y[index])[active].sum(), active)
        for slot in active:
            row, grad = self.models.row(slot), self.models.grad(slot)
            AdamW().step(Step(row, grad, self.states[slot], _lr(self.seeds[slot]), 0.9, 0.01 * self.seeds[slot]))
            self.steps[slot] += 1

    def evaluate(self, slot: int) -> Tensor:
        self.models.training = False
        with torch.no_grad():
            return self.models.forward(self.x.expand(self.models.width, *self.x.shape), sorted(self.seeds))[slot]

    def copy(self, slot: int) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.models.tensors(slot).items()}


def _lr(seed: int) -> float:
    return 0.002 * (1 + seed)


@functools.cache
def _train_plain(name: str, seed: int, steps: int, batch: int) -> nn.Module:
    module = _make(name, seed)
    x, y = _data(name, 0)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=_lr(seed), betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01 * seed
    )
    for step in range(steps):
        index = _batch(step, seed, batch)
        optimizer.zero_grad()
        F.cross_entropy(module(x[index]), y[index]).backward()
        optimizer.step()
    return module.eval()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", list(MODELS))
def test_slots_train_as_plain_modules_do(path: str, name: str):
    batch = 6
    group = Group(path, name, width=2)
    for slot in range(2):
        group.load(slot, seed=slot)
    for _ in range(200):
        group.step(batch)
    for slot in range(2):
        plain = _train_plain(name, slot, 200, batch)
        expected = dict(plain.named_parameters()) | dict(plain.named_buffers())
        for key, tensor in group.copy(slot).items():
            if not key.endswith("num_batches_tracked"):
                torch.testing.assert_close(tensor, expected[key].detach(), rtol=0, atol=1e-9, msg=f"{slot} {key}")
        with torch.no_grad():
            torch.testing.assert_close(group.evaluate(slot), plain(group.x), rtol=0, atol=1e-9)


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["mlp", "cnn", "tabular"])
def test_a_trial_is_bit_identical_alone_among_others_and_beside_nan(path: str, name: str):
    runs = []
    for neighbours in ("none", "well", "nan"):
        group = Group(path, name, width=4, dtype=torch.float32)
        group.load(2, seed=5, rate=0.3)
        if neighbours != "none":
            for slot in (0, 1, 3):
                group.load(slot, seed=slot, rate=0.2 * slot)
        for step in range(12):
            if neighbours == "nan" and step == 4:
                group.models.row(1).fill_(float("nan"))
                group.models.row(3).fill_(float("inf"))
            group.step()
            if neighbours == "nan" and step == 8:
                group.stop(3)  # its weights stay in the slot
        runs.append((group.copy(2), group.evaluate(2)))
    for tensors, output in runs[1:]:
        assert _same(tensors, runs[0][0])
        assert torch.equal(output, runs[0][1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["mlp", "cnn", "tabular"])
def test_a_refilled_slot_is_as_good_as_a_fresh_one(path: str, name: str):
    fresh = Group(path, name, width=2, dtype=torch.float32)
    fresh.load(1, seed=7, rate=0.4)
    used = Group(path, name, width=2, dtype=torch.float32)
    used.load(0, seed=1, rate=0.1)
    used.load(1, seed=2, rate=0.5)
    for _ in range(6):
        used.step()
    used.models.row(1).fill_(float("nan"))
    used.step()
    used.stop(1)
    used.load(1, seed=7, rate=0.4)
    for _ in range(6):
        fresh.step()
        used.step()
    assert _same(fresh.copy(1), used.copy(1))


@pytest.mark.parametrize("path", PATHS)
def test_the_random_state_of_the_process_stays_as_it_was(path: str):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    group = Group(path, "mlp", width=2, dtype=torch.float32)
    group.load(0, seed=0, rate=0.5)
    group.step()
    group.evaluate(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("path", PATHS)
def test_dropout_draws_anew_at_each_step_and_not_in_evaluation(path: str):
    group = Group(path, "mlp", width=1, dtype=torch.float32)
    group.load(0, seed=0, rate=0.5)
    group.models.training = True
    x = group.x[None]
    assert not torch.equal(group.models.forward(x, [0]), group.models.forward(x, [0]))
    assert torch.equal(group.evaluate(0), group.evaluate(0))


@pytest.mark.parametrize("whole", [nn.Dropout, nn.Dropout2d])
def test_dropout_on_images_drops_elements_or_whole_channels(whole: type[nn.Module]):
    module = nn.Sequential(nn.Conv2d(1, 6, 1), whole(0.5), nn.Flatten())
    nn.init.ones_(module[0].weight)
    nn.init.zeros_(module[0].bias)
    stack = StackedModels(module, 2, torch.ones(3, 1, 4, 4), CPU)
    for slot in range(2):
        stack.load(slot, module, seed=slot)
    kept = stack.forward(torch.ones(2, 32, 1, 4, 4), [0, 1]).view(2, 32, 6, 16)
    assert sorted(kept.unique().tolist()) == [0.0, 2.0]
    per_channel = kept.amax(dim=3) == kept.amin(dim=3)
    assert bool(per_channel.all()) == (whole is nn.Dropout2d)
    assert not torch.equal(kept[0], kept[1])


class _Forward(nn.Module):
    """A linear layer and whatever is done with it."""

    def __init__(self, forward: Callable[[nn.Linear, Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.layer, x, self)


def _frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[0].weight.requires_grad_(False)
    return module


def _hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4))
    module[0].register_forward_hook(lambda module, args, output: output * 2)
    return module


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Linear(5, 4)), "it does not run on its examples"),
        (nn.Sequential(nn.BatchNorm1d(4, momentum=None)), r"no rule for 0 \(BatchNorm1d\), and it cannot be run"),
        (nn.Sequential(nn.Linear(4, 4), nn.AlphaDropout(0.1)), r"1 \(AlphaDropout\), and it cannot .* random"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double()), "several dtypes"),
        (_hooked(), "0: Linear has forward hooks"),
        (_Forward(lambda layer, x, m: layer(x) if x.sum() > 0 else x), "torch.fx cannot trace it"),
        (_Forward(lambda layer, x, m: layer(x).view(-1, 2)), "the output is not one tensor"),
        (_Forward(lambda layer, x, m: (layer(x), x)), "the output is not one tensor"),  # type: ignore[arg-type, return-value]
        (_Forward(lambda layer, x, m: layer(x) + torch.rand(4)), "is neither parameter nor buffer"),
    ],
)
def test_what_has_no_stacked_form_is_refused_with_the_part_and_the_reason(module: nn.Module, reason: str):
    with pytest.raises(NotStackable, match=reason):
        StackedModels(module, 2, torch.ones(3, 4), CPU)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.5), nn.Linear(4, 4)),
    ],
)
def test_another_architecture_is_refused_by_a_slot(other: nn.Module):
    stack = StackedModels(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), 2, torch.ones(3, 4), CPU)
    with pytest.raises(NotStackable, match="change the architecture"):
        stack.load(0, other, seed=0)


def test_another_forward_of_the_same_layers_is_refused_by_a_slot():
    stack = StackedModels(_Forward(lambda layer, x, m: F.relu(layer(x))), 2, torch.ones(3, 4), CPU)
    stack.load(0, _Forward(lambda layer, x, m: F.relu(layer(x))), seed=0)
    for forward in (
        lambda layer, x, m: F.gelu(layer(x)),
        lambda layer, x, m: F.leaky_relu(layer(x), negative_slope=0.5),
    ):
        with pytest.raises(NotStackable, match="change the architecture"):
            stack.load(1, _Forward(forward), seed=0)


def test_sequential_models_take_what_cannot_be_stacked():
    models = SequentialModels(2, CPU)
    for slot in range(2):
        models.load(slot, _frozen(), seed=slot)
    models.backward(models.forward(torch.ones(2, 3, 4), [0, 1]).sum(), [0, 1])
    assert models.row(0).numel() == 4 + 16 + 4
    assert models.grad(1).abs().sum() > 0
    assert set(models.tensors(0)) == {"0.weight", "0.bias", "1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("layer", "other"),
    [
        (nn.MultiheadAttention(8, 2, batch_first=True), nn.MultiheadAttention(8, 4, batch_first=True)),
        (nn.AvgPool1d(3, padding=1), nn.AvgPool1d(3, padding=1, count_include_pad=False)),
    ],
)
def test_settings_that_a_layer_does_not_print_are_another_architecture(layer: nn.Module, other: nn.Module):
    def attended(inner: nn.Module, x: Tensor, m: Any) -> Tensor:
        return inner(x, x, x)[0] if isinstance(inner, nn.MultiheadAttention) else inner(x)

    def model(inner: nn.Module) -> nn.Module:
        net = _Forward(attended)
        net.layer = inner  # type: ignore[assignment]
        return net

    stack = StackedModels(model(layer), 2, torch.ones(3, 5, 8), CPU)
    stack.load(0, model(copy.deepcopy(layer)), seed=0)
    with pytest.raises(NotStackable, match="change the architecture"):
        stack.load(1, model(other), seed=0)


def test_a_random_state_from_a_gpu_goes_on_without_one():
    """It holds the host's state first; a forward may draw there on a GPU as well."""
    models = SequentialModels(2, CPU)
    module = _Forward(lambda layer, x, m: layer(x) * torch.rand([]))
    for slot in range(2):
        models.load(slot, copy.deepcopy(module), seed=slot)
    state = models.random_state(0)
    assert state is not None
    models.set_random_state(1, torch.cat([state, torch.arange(16, dtype=torch.uint8)]))
    models.training = True
    first, second = (models.forward(torch.ones(2, 3, 4), [0, 1]) for _ in range(2))
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0]), "every step draws anew"


@pytest.mark.parametrize("path", ["stacked", "vmap"])
def test_gradients_of_a_backward_pass_that_failed_are_not_added_to_the_next(path: str):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2))

    models = build_models(path, build(), 2, torch.ones(3, 3), torch.device("cpu"))
    for slot in range(2):
        models.load(slot, build(), slot)
    x = torch.randn(2, 5, 3)
    gradients = []
    for fails in (False, True, False):
        last: Any = Fails.apply(torch.ones(1, requires_grad=True))  # what came first has its turn last
        output = models.forward(x, (0, 1))
        if fails:
            with pytest.raises(torch.OutOfMemoryError):
                models.backward(output.sum() + last.sum(), (0, 1))
        else:
            models.backward(output.sum(), (0, 1))
            gradients.append(models.grad(0).clone())
    assert torch.equal(*gradients)
