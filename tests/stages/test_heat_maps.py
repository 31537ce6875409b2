"""Grad-CAM of nets with a map of features: against its definition, and in the place of the thing that is named."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from lab.stages.diagnostics import Example
from lab.stages.ensemble import Member
from lab.stages.examples import telling_examples
from lab.stages.heat_maps import heat_map, overlay, with_heat_maps
from lab.study.study import Study
from lab.tasks.build import build_model
from lab.tasks.digits import Digits
from lab.tasks.images.nets import ResNet9, small_cnn

EVERY = slice(None)


def test_it_is_what_the_paper_says():
    torch.manual_seed(0)
    body, head = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 4)
    net = nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    x = torch.randn(1, 3, 6, 7)
    values = body(x).relu()
    named = int(net(x)[0].argmax())
    weights = head.weight[named] / (6 * 7)  # the gradient of a mean, the same in every place
    expected = (weights[:, None, None] * values[0]).sum(dim=0).relu()
    heat = heat_map(net, x, EVERY)
    assert heat is not None
    torch.testing.assert_close(heat, (expected / expected.max()).detach())


def test_it_lies_where_the_thing_is():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.constant_(net[0].weight, 1.0)
    with torch.no_grad():
        net[0].weight[1] = -1.0
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 2, 6] = 1.0
    heat = heat_map(net, x, EVERY)
    assert heat is not None
    assert heat[1:4, 5:8].eq(1).all()
    assert heat.sum() == 9


@pytest.mark.parametrize(
    ("net", "side", "size"),
    [(small_cnn(3, 4, 0.0), 32, 4), (small_cnn(3, 4, 0.0), 8, 4), (ResNet9(3, 4, 0.0, width=4), 32, 4)],
)
def test_the_last_map_of_enough_places_is_taken(net: nn.Module, side: int, size: int):
    torch.manual_seed(0)
    frozen = net.eval().requires_grad_(False)
    maps = [heat_map(frozen, torch.randn(1, 3, side, side), EVERY) for _ in range(8)]
    assert {tuple(one.shape) for one in maps if one is not None} == {(size, size)}
    assert all(not one._forward_hooks and not one._forward_pre_hooks for one in net.modules())


def test_nets_without_a_map_have_none():
    assert heat_map(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.randn(1, 1, 4, 4), EVERY) is None
    assert heat_map(nn.Sequential(nn.Linear(4, 3)), torch.randn(1, 4), EVERY) is None
    whole = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())
    assert heat_map(whole, torch.randn(1, 1, 4, 4), EVERY) is None


@pytest.mark.parametrize(("side", "form"), [(8, "PNG"), (300, "JPEG")])
def test_an_overlay_is_red_where_it_is_hot_and_small(side: int, form: str):
    stream = io.BytesIO()
    Image.new("L", (side, side), 200).save(stream, format="PNG")
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    made = overlay(uri, np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    image = Image.open(io.BytesIO(base64.b64decode(made.partition(",")[2])))
    assert (image.format, image.width) == (form, min(side, 96))
    pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels[0, 0, 0] - pixels[0, 0, 1] > 60
    assert abs(pixels[-1, -1] - 200).max() < 10
    assert len(made) < 6_000


def test_every_example_with_an_image_has_one(tmp_path: Path):
    task = Digits(model="cnn")
    x, y = task.data("test")
    net = build_model(task, {}, seed=0)
    member = Member("net.safetensors", {}, 1.0)
    save_file(net.state_dict(), tmp_path / member.file)
    examples = telling_examples(task, net.eval()(x).softmax(dim=1).detach(), y)
    heated = with_heat_maps(task, tmp_path, [member], x, examples)
    assert heated.keys() == examples.keys()
    made = [one.heat_map for some in heated.values() for one in some]
    assert [one.startswith("data:image/png;base64,") for one in made] == [True] * 24


def test_what_is_no_image_stays_as_it_is(small_study: Study):
    plain = {"most wrong": (Example(0, "1", "2", {"name": "x", "image": "https://example.org/x.png"}),)}
    ensemble = small_study.result.ensemble
    x = ensemble.test_data()[0]
    assert with_heat_maps(ensemble.task, ensemble._folder, ensemble.members, x, plain) == plain


def test_a_net_may_change_its_input_in_place():
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(1, 1, 4, 4)
    before = x.clone()
    heat_map(net, x, EVERY)
    assert torch.equal(x, before)
