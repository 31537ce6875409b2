"""Many nets on one frozen body train as each does by itself, in plain PyTorch, and hold its weights once.

Shapes: k slots, b examples.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.tasks.transfer.adapter import Adapted, AdaptedBody
from lab.tasks.transfer.adapter_options import AdapterPlan
from lab.training.models import build_models
from lab.training.optimizer import AdamW, Step
from lab.training.stacking.folded import FoldedModels
from lab.training.stacking.layouts import NotStackable

CPU = torch.device("cpu")
WIDTH, BATCH, STEPS = 3, 6, 12


class Body(nn.Module):
    """What torch.fx cannot trace: numbers decide how far it looks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.mixed = nn.Conv2d(6, 6, 1, bias=False)
        self.tokens, self.flat = nn.Linear(6, 5), nn.Linear(5, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if float(x.detach().abs().max()) > 1e9:
            x = x / 2
        x = self.mixed(self.norm(self.stem(x)).relu()).flatten(2).transpose(1, 2)
        x = torch.tanh(self.tokens(x))
        rows = self.flat(x.flatten(0, 1))  # [b*t, f], as some nets have their tokens
        out: Tensor = (x + rows.view(x.shape)).mean(dim=1)
        return out


def on_body(rank: int = 2) -> AdaptedBody:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        body = Body()
        body(torch.randn(8, 3, 6, 6))
    return AdaptedBody(body.double().eval(), AdapterPlan(rank=rank))


def net(on: AdaptedBody, seed: int, **params: float) -> Adapted:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Dropout(params.get("dropout", 0.0)), nn.Linear(5, 3)).double()
        made = on.net(nn.BatchNorm1d(5).double(), head, params)
        for name, parameter in made.named_parameters():
            if name.endswith("lora_b"):  # else the first step teaches lora_a nothing
                nn.init.normal_(parameter, std=0.1)
    return made


def batch(step: int, slot: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 * step + slot)
    x = torch.randn(BATCH, 3, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (BATCH,), generator=generator)


def plainly(made: Adapted, slot: int) -> dict[str, Tensor]:
    """The tensors after a loop of PyTorch's own."""
    made.train()
    trained, beta2 = [p for p in made.parameters() if p.requires_grad], AdamW().beta2
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.01, betas=(0.9, beta2), eps=AdamW().eps)
    for step in range(STEPS):
        x, y = batch(step, slot)
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(x), y).backward()
        optimizer.step()
    return made.state_dict()


ALPHAS = (4.0, 16.0, 1.0)


@pytest.mark.parametrize("path", ["stacked", "sequential"])
def test_it_trains_as_plain_pytorch_does(path: str):
    on = on_body()
    before = copy.deepcopy(on.body.state_dict())
    models = build_models(path, net(on, 0), WIDTH, batch(0, 0)[0], CPU)
    for slot, alpha in enumerate(ALPHAS):
        made = net(on, slot, alpha=alpha)
        assert models.takes(made)
        models.load(slot, made, seed=slot)
    optimizer = AdamW()
    states = [optimizer.state(models.row(slot)) for slot in range(WIDTH)]
    active = list(range(WIDTH))
    for step in range(STEPS):
        x, y = (torch.stack(parts) for parts in zip(*(batch(step, slot) for slot in active), strict=True))
        outputs = models.forward(x, active)
        losses = [nn.functional.cross_entropy(outputs[slot], y[slot]) for slot in active]
        models.backward(torch.stack(losses).sum(), active)
        for slot in active:
            optimizer.step(Step(models.row(slot), models.grad(slot), states[slot], 1e-2, 0.9, 0.01))
    models.training = False
    x = batch(0, 0)[0]
    outputs = models.forward(x.expand(WIDTH, *x.shape), active)
    for slot, alpha in enumerate(ALPHAS):
        plain = net(on_body(), slot, alpha=alpha)
        expected = plainly(plain, slot)
        own = models.tensors(slot)
        assert all(name in own for name in expected if "lora" in name or name.startswith(("head", "norm")))
        for name, tensor in own.items():
            if name.endswith("num_batches_tracked"):  # is not counted where models are stacked
                continue
            torch.testing.assert_close(tensor, expected[name], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(outputs[slot], plain.eval()(x), rtol=1e-8, atol=1e-8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in on.body.state_dict().items())


@pytest.mark.parametrize("path", ["stacked", "sequential"])
def test_the_frozen_weights_are_there_once_and_no_slot_has_its_own(path: str):
    on = on_body()
    models: Any = build_models(path, net(on, 0), WIDTH, batch(0, 0)[0], CPU)
    for slot in range(WIDTH):
        models.load(slot, net(on, slot), seed=slot)
    weight = on.body.stem.weight
    bodies = [models._body] if path == "stacked" else [made.get_submodule("body") for made in models._modules]
    assert all(body.stem.weight.data_ptr() == weight.data_ptr() for body in bodies)
    names = models.tensors(0).keys()
    assert {"body.stem.lora_a", "body.stem.scale", "head.1.weight", "norm.running_var"} <= names
    assert not {"body.stem.weight", "body.norm.weight", "body.norm.running_mean"} & names
    assert len(models.row(0)) == sum(p.numel() for p in net(on, 0).parameters() if p.requires_grad)


def test_alpha_is_the_slots_own_and_rank_makes_another_group():
    on = on_body()
    models = build_models("stacked", net(on, 0), 2, batch(0, 0)[0], CPU)
    assert isinstance(models, FoldedModels)
    assert models.takes(net(on, 1, alpha=3.0, dropout=0.5))
    assert not models.takes(net(on, 1, rank=3))
    assert not models.takes(nn.Linear(3, 2))


def test_a_slots_numbers_do_not_hang_on_its_neighbours():
    def trained(slot: int, others: int) -> Tensor:
        on = on_body()
        models = build_models("stacked", net(on, 0), WIDTH, batch(0, 0)[0], CPU)
        for other in range(WIDTH):
            models.load(other, net(on, 7 if other == slot else others), seed=7 if other == slot else others)
        for step in range(3):
            x = torch.stack([batch(step, 5 if other == slot else others)[0] for other in range(WIDTH)])
            models.backward(models.forward(x, range(WIDTH)).square().sum(), range(WIDTH))
            for other in range(WIDTH):
                models.row(other).sub_(models.grad(other) * 1e-2)
        return models.row(slot).clone()

    assert torch.equal(trained(0, 1), trained(0, 2))
    torch.testing.assert_close(trained(0, 1), trained(2, 1), rtol=1e-12, atol=1e-12)


def test_a_body_that_mixes_the_examples_of_a_batch_is_refused():
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)[::2]
            return out

    on = AdaptedBody(Folded(), AdapterPlan(rank=1))
    made = on.net(nn.BatchNorm1d(4), nn.Linear(4, 2), {})
    with pytest.raises(NotStackable, match="its body"):
        build_models("stacked", made, 2, torch.randn(3, 4), CPU)
