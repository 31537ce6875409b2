"""Low-rank adapters: what they compute, where they stand, what is shared and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.errors import LabError, SpecError
from lab.tasks.images.options import ImageOptions
from lab.tasks.text.options import TextOptions
from lab.tasks.transfer.adapter import Adapted, AdaptedBody, merged, own_tensors
from lab.tasks.transfer.adapter_options import ALL, AdapterPlan
from lab.tasks.transfer.head import groups_of


class Body(nn.Module):
    """Convolutions, one of them in groups, a batch norm that has seen something, and attention's layers by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.attention = nn.ModuleDict({"query": nn.Linear(6, 5), "value": nn.Linear(6, 5, bias=False)})
        self.last = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.norm(self.stem(x)).relu()).flatten(2).transpose(1, 2)
        x = torch.tanh(self.attention["query"](x)) * self.attention["value"](x)
        out: Tensor = self.last(x.mean(dim=1))
        return out


def body() -> Body:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = Body()
        made(torch.randn(8, 3, 6, 6))
    return made.eval()


def net(on: nn.Module, seed: int = 0, moved: AdaptedBody | None = None, **plan: Any) -> Adapted:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = moved or AdaptedBody(on, AdapterPlan.parse({"rank": 2, **plan}, ALL))
        return made.net(nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2)), {})


def learned(made: Adapted) -> Adapted:
    """A net whose adapters do something."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in made.named_parameters():
        if name.endswith("lora_b"):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return made


X = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
def test_before_its_first_step_a_body_makes_what_it_made_before(training: bool):
    plain = body()
    made = net(plain).train(training)
    plain.requires_grad_(False)  # PyTorch picks its kernels by that
    assert torch.equal(made.get_submodule("body")(X), plain(X))


@pytest.mark.parametrize("name", ["stem", "last"])
def test_a_layer_adds_alpha_over_rank_times_the_product(name: str):
    plain = body()
    layer: Any = learned(net(plain, rank=3, alpha=6.0)).get_submodule(f"body.{name}")
    weight: Tensor = plain.get_submodule(name).weight  # type: ignore[assignment]
    expected = weight + 6.0 / 3 * (layer.lora_b @ layer.lora_a.flatten(1)).view_as(weight)
    x = X if name == "stem" else torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
    by_hand = F.conv2d(x, expected, None, 2, 1) if name == "stem" else F.linear(x, expected, plain.last.bias)
    assert not torch.allclose(by_hand, plain.get_submodule(name)(x))
    torch.testing.assert_close(layer(x), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.merged().weight, expected, rtol=0, atol=1e-6)


def test_lora_a_begins_as_a_linear_layer_does():
    layer: Any = net(nn.Sequential(nn.Linear(400, 300)), rank=100).get_submodule("body.0")
    assert torch.count_nonzero(layer.lora_b) == 0
    assert layer.lora_a.abs().max() <= 1 / 20  # 1 / sqrt(inputs)
    assert float(layer.lora_a.detach().std()) == pytest.approx(1 / 20 / 3**0.5, rel=0.02)


def test_merged_a_net_computes_the_same_in_the_layers_that_the_body_had():
    plain = body()
    made = learned(net(plain)).eval()
    once = merged(made)
    torch.testing.assert_close(once(X), made(X), rtol=1e-5, atol=1e-5)
    named = {name.removeprefix("body.") for name in once.state_dict() if name.startswith("body.")}
    assert named == plain.state_dict().keys()
    assert torch.equal(net(plain).get_parameter("body.stem.weight"), plain.stem.weight)
    assert merged(plain) is plain


def test_nets_on_one_body_share_its_memory_and_keep_their_own():
    plain = body()
    one, other = net(plain), net(plain, seed=1)
    frozen = one.frozen()
    assert {name for name in frozen if name.endswith("weight")} >= {"body.stem.weight", "body.attention.query.weight"}
    assert {"body.norm.running_mean", "body.norm.weight"} <= frozen.keys()
    assert all(t.data_ptr() == other.frozen()[name].data_ptr() for name, t in frozen.items())
    assert frozen["body.stem.weight"].data_ptr() == plain.stem.weight.data_ptr()
    one.to(torch.float64)
    assert plain.stem.weight.dtype == other.get_parameter("body.stem.weight").dtype == torch.float32
    own = own_tensors(other)
    assert own.keys() | frozen.keys() == dict(other.named_parameters()).keys() | dict(other.named_buffers()).keys()
    assert not own.keys() & frozen.keys()
    assert {"body.stem.lora_a", "body.stem.lora_b", "body.stem.scale", "norm.running_mean", "head.0.bias"} <= own.keys()
    assert {n for n, p in other.named_parameters() if not p.requires_grad} <= frozen.keys()
    assert plain.stem.weight.requires_grad


def test_on_another_device_the_frozen_tensors_are_there_once_too():
    on = AdaptedBody(body(), AdapterPlan(rank=2))
    one, other = (net(on.body, seed, moved=on).to("meta") for seed in (0, 1))
    assert len(on.moved) == len(one.frozen())
    assert {tensor.device.type for tensor in other.frozen().values()} == {"meta"}
    assert on.body.get_parameter("stem.weight").device.type == "cpu"


def test_a_body_is_in_evaluation_always():
    plain = body()
    made = net(plain).train()
    before = plain.norm.running_mean.clone()  # type: ignore[union-attr]
    made(X)
    assert torch.equal(plain.norm.running_mean, before)  # type: ignore[arg-type]
    assert made.get_submodule("norm").training
    still = AdaptedBody(plain, AdapterPlan(rank=2), held=True)
    assert not net(plain, moved=still).train().get_submodule("norm").training


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("all", ["stem", "attention.query", "attention.value", "last"]),
        ("attention", ["attention.query", "attention.value"]),
        (["value", "stem"], ["stem", "attention.value"]),
        (["attention.query"], ["attention.query"]),
    ],
)
def test_targets_say_which_layers_get_one(targets: Any, layers: list[str]):
    trained = [n for n, p in net(body(), targets=targets).named_parameters() if p.requires_grad]
    assert [n for n in trained if n.startswith("body.")] == [
        f"body.{layer}.{part}" for layer in layers for part in ("lora_a", "lora_b")
    ]


def test_adapters_are_in_the_group_of_the_layer_at_which_they_stand():
    made = net(body(), targets=["stem", "value", "last"])  # of six layers the first, the fifth and the last
    groups = [[name.removeprefix("body.").rpartition(".")[0] for name in group] for group in groups_of(made, 4)]
    assert groups == [["stem"] * 2, ["attention.value"] * 2 + ["last"] * 2, ["norm"] * 2 + ["head.0"] * 2]


def test_hyperparameters_win_over_the_plan():
    made = AdaptedBody(body(), AdapterPlan(rank=4)).net(nn.Identity(), nn.Linear(4, 2), {"rank": 2, "alpha": 3.0})
    layer: Any = made.get_submodule("body.last")
    assert layer.lora_a.shape == (2, 5)
    assert layer.scale == 1.5


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (
            {"targets": ["key"]},
            r"targets: 'key' names no layer of the body; there are stem, query, value, last$",
        ),
        ({"targets": ["depthwise"]}, r"targets: 'depthwise' is 'depthwise', a convolution in 6 groups, which no"),
        ({"targets": ["norm"]}, r"targets: 'norm' is 'norm', a BatchNorm2d, which no adapter is for; there are stem"),
        ({"rank": 5, "targets": ["last"]}, r"rank: 5 is above 4, which is the size of the layer 'last'; take at most"),
    ],
)
def test_what_no_layer_allows_is_refused_in_a_line(plan: dict[str, Any], line: str):
    with pytest.raises(SpecError, match=rf"^task\.adapter\.{line}"):
        net(body(), **plan)
    with pytest.raises(
        SpecError, match=r"targets: 'all': the body has no layers that an adapter is for; there are none"
    ):
        net(nn.Sequential(nn.ReLU()), targets="all")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("lara", r"kind: 'lara' is unknown \(did you mean 'lora'\?\); choices: lora$"),
        (3, r": 3 is neither a kind \(lora\) nor a mapping$"),
        ({"rnk": 3}, r"\.rnk: is unknown \(did you mean 'rank'\?\); allowed: kind, rank, alpha, targets$"),
        ({"rank": 0}, r"\.rank: 0 is not a whole number from 1 to 65536$"),
        ({"rank": True}, r"\.rank: True is not a whole number"),
        ({"rank": 2.5}, r"\.rank: 2\.5 is not a whole number"),
        ({"alpha": 0}, r"\.alpha: 0 is not a number from 0\.001 to 1e\+06$"),
        ({"alpha": float("nan")}, r"\.alpha: nan is not a number"),
        ({"targets": "query"}, r"\.targets: 'query' is neither all, attention nor a list of layers' names$"),
        ({"targets": []}, r"\.targets: \[\] is neither"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_a_line(value: Any, line: str):
    with pytest.raises(SpecError, match=rf"^task\.adapter\.?{line.removeprefix('.')}"):
        TextOptions("texts.csv", model="hf:x", adapter=value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, r"task\.adapter: is for a net that begins with weights: task\.pretrained"),
        (
            {"model": "timm:x", "pretrained": True, "train": "head"},
            r"task\.adapter: has no effect where task\.train is 'head'",
        ),
        (
            {"model": "timm:x", "pretrained": True, "hold_norms": False},
            r"task\.hold_norms: false is not possible beside task\.adapter",
        ),
    ],
)
def test_what_learns_nothing_by_an_adapter_is_refused(options: dict[str, Any], line: str):
    with pytest.raises(LabError, match=line):
        ImageOptions("images.npz", adapter="lora", **options)


def test_texts_have_adapters_in_nets_of_transformers_alone():
    with pytest.raises(SpecError, match=r"task\.adapter: is for a net of transformers that was trained before"):
        TextOptions("texts.csv", adapter="lora")
    assert TextOptions("texts.csv", model="hf:x", adapter="lora").plan() == AdapterPlan(targets="attention")
    assert TextOptions("texts.csv", model="hf:x").settled()["rank"] == "is of an adapter: task.adapter: lora"
    assert "rank" not in TextOptions("texts.csv", model="hf:x", adapter="lora").settled()
