"""Weights of layer-sequential unit variance, against the variances that they are made for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import lab
from lab.errors import SpecError, TaskError
from lab.schedules import Constant
from lab.spec.exchange import Assignment
from lab.spec.folds import Folds
from lab.spec.plan import Training
from lab.spec.space import Choice, Float, Space
from lab.spec.study import parse_spec
from lab.spec.trial import Trial
from lab.study.check import check_components
from lab.study.data import check_weights
from lab.tasks.digits import Digits
from lab.training.grouped import GroupedTrainer
from lab.training.lsuv import lsuv
from lab.training.trainer import ModelTrainer
from tests.small import small


def _deep() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 20)]
    for _ in range(8):
        layers += [nn.ReLU(), nn.Linear(20, 20)]
    return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(20, 4))


def _variances(net: nn.Sequential, x: torch.Tensor) -> list[float]:
    variances = []
    for layer in net.eval():
        x = layer(x)
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            variances.append(float(x.detach().double().var(correction=0)))
    return variances


def test_each_layer_gives_unit_variance():
    x = 5 * torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    net = _deep()
    assert min(_variances(net, x)) < 0.5
    state = torch.get_rng_state()
    assert lsuv(net.train(), x, tolerance=0.01) is net
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert _variances(net, x) == pytest.approx([1.0] * 11, abs=0.0101)
    weight = net[5].weight.detach()
    product = weight @ weight.T / (weight @ weight.T)[0, 0]
    assert torch.allclose(product, torch.eye(20), atol=1e-5)  # orthogonal but for its scale


def test_what_was_not_drawn_stays():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(7, 4), nn.Linear(4, 7)
            self.out.weight = self.embedding.weight
            self.frozen, self.free = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)
            self.uncalled = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(self.free(self.frozen(self.embedding(x))))
            return out

    net = Tied()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    lsuv(net, torch.arange(7)[:, None])
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"free.weight"}
    still = lsuv(nn.Linear(2, 2), torch.zeros(3, 2))  # gives its bias alone, whose variance no weight changes
    assert torch.isfinite(still.weight).all()


def test_a_trial_begins_alike_on_every_path_whatever_trains_beside_it():
    trials = [
        Trial({"max_lr": 0.01, "init": how}, 7, 1, own_schedule=Constant(max_lr=0.01)) for how in ("lsuv", "default")
    ]
    begun = []
    for path, width in (("sequential", 1), ("stacked", 2), ("vmap", 2)):
        trainer = GroupedTrainer(Digits(), Training({"kind": "adamw"}, 64, path=path, threads=1), width, width, {})
        for slot in range(width):
            trainer.start(Assignment(slot, trials[slot], slot=slot, tick=0))
        state = trainer.save(0)
        assert state is not None
        begun.append({name: tensor.clone() for name, tensor in state[0].items() if name.startswith("model/")})
    weight = begun[0]["model/0.weight"]
    assert not torch.equal(weight, trainer.save(1)[0]["model/0.weight"])  # type: ignore[index]
    for other in begun[1:]:
        for name, tensor in begun[0].items():
            assert torch.equal(tensor, other[name]), name


def test_rows_of_a_fold_that_is_left_out_have_no_say():
    task = Digits()
    sizes = [len(task.data(split)[0]) for split in ("train", "valid")]  # type: ignore[arg-type]
    folds = Folds(tuple([1 + i % 2 for i in range(sizes[0])] + [0] * sizes[1]))
    training = Training({"kind": "adamw"}, 64, path="sequential", threads=1, folds=folds)
    trainer = ModelTrainer(task, training, 1, {})
    drawn = trainer._drawn(Trial({}, 1, 1, fold=1))
    rows = {tuple(row.tolist()) for row in task.data("train")[0][1::2]} | {
        tuple(r.tolist()) for r in task.data("valid")[0]
    }
    assert len(drawn) == 64
    assert all(tuple(row.tolist()) in rows for row in drawn)


def test_it_is_searched_and_what_is_no_way_to_draw_is_refused():
    space = {"max_lr": {"low": 1e-3, "high": 0.1, "log": True}}
    check_components(parse_spec(small(space={**space, "init": {"choice": ["default", "lsuv"]}})))
    for wrong, said in (
        ({"choice": ["lsuw"]}, r"space\.init: 'lsuw' is unknown.*choices: default, lsuv"),
        ({"low": 0.0, "high": 1.0}, r"space\.init: is a range"),
    ):
        with pytest.raises(SpecError, match=said):
            check_components(parse_spec(small(space={**space, "init": wrong})))


def test_what_was_trained_before_is_not_drawn_anew():
    class Pretrained(Digits):
        def groups(self, model: nn.Module) -> list[list[str]]:
            names = [name for name, _ in model.named_parameters()]
            return [names[:2], names[2:]]

    spec = parse_spec(small()).model_copy(
        update={"space": Space(max_lr=Float(1e-3, 0.1), init=Choice(("default", "lsuv")))}
    )
    with pytest.raises(SpecError, match="trained before; leave it out"):
        check_weights(spec, Pretrained(), {})
    check_weights(spec, Digits(), {})
    with pytest.raises(SpecError, match="init: 'x' is unknown"):
        lab.fit_one_cycle("digits", 0.01, epochs=1, init="x")


@pytest.mark.parametrize("batch", [torch.empty(0, 3), torch.full((4, 3), torch.nan), [1.0, 2.0, 3.0]])
def test_a_batch_that_says_nothing_is_refused(batch: Any) -> None:
    with pytest.raises(TaskError, match="lsuv: the batch is not a tensor of finite inputs"):
        lsuv(nn.Linear(3, 2), batch)
