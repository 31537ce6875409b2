"""Nets for images: the shapes they take, their sizes, and the names that are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from lab.errors import SpecError
from lab.tasks.images.describe import describe
from lab.tasks.images.nets import ResNet9, build, check_library, small_cnn
from lab.tasks.images.options import check_net


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (8, 5), (28, 28), (33, 40)])
def test_they_take_images_of_every_size(channels: int, size: tuple[int, int]):
    x = torch.randn(2, channels, *size)
    for net in (small_cnn(channels, 7, 0.1), ResNet9(channels, 7, 0.1, width=4)):
        output = net.eval()(x)
        assert output.shape == (2, 7)
        assert torch.isfinite(output).all()


def test_their_sizes_are_what_they_say():
    def parameters(net: nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    assert parameters(small_cnn(3, 10, 0.0)) == pytest.approx(24_000, rel=0.03)
    assert parameters(build("resnet", 3, 10, 0.0)) == pytest.approx(6.6e6, rel=0.01)


def test_resnet_adds_its_residuals():
    net = ResNet9(3, 4, 0.0, width=4).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for block in (net.residual1, net.residual3):
            block[-1][-2].weight.zero_()  # the last batch norm: the block gives relu(bias) = 0
        plain = net.head(net.stage3(net.stage2(net.stage1(net.stem(x))))) * 0.125
        torch.testing.assert_close(net(x), plain)


def test_dropout_is_the_trials():
    for name in ("small_cnn", "resnet"):
        assert [m.p for m in build(name, 3, 4, 0.3).modules() if isinstance(m, nn.Dropout)] == [0.3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "small_cn",
            r"task\.model: 'small_cn' is unknown \(did you mean 'small_cnn'\?\); choices: small_cnn, resnet, t",
        ),
        ("keras:vgg", r"task\.model: 'keras:vgg' is unknown"),
        (3, r"task\.model: 3 is not the name of a net"),
        (None, r"task\.model: None is not the name"),
    ],
)
def test_unknown_nets_are_refused(name: str, message: str):
    with pytest.raises(SpecError, match=f"^{message}"):
        check_net(name)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_not_there_is_named(library: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SpecError, match=rf"task\.model: '{library}:x' needs: pip install 'onecycle-lab\[pretrained\]'"):
        build(f"{library}:x", 3, 4, 0.0)


def test_timms_nets_get_channels_classes_and_dropout(monkeypatch: pytest.MonkeyPatch):
    def create_model(name: str, num_classes: int, in_chans: int, drop_rate: float) -> nn.Module:
        if name != "known":
            raise RuntimeError(f"Unknown model\n({name})")
        return nn.Sequential(nn.Conv2d(in_chans, num_classes, 1), nn.Dropout(drop_rate))

    fake = ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    fake.list_models = lambda: ["known"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    net = build("timm:known", 1, 5, 0.2)
    assert (net[0].in_channels, net[0].out_channels, net[1].p) == (1, 5, 0.2)  # type: ignore[index]
    with pytest.raises(SpecError, match=r"task\.model: 'timm:knwn' is unknown \(did you mean 'known'\?\)"):
        build("timm:knwn", 1, 5, 0.2)
    with pytest.raises(SpecError, match=r"task\.model: 'timm:hf-hub:a/b': Unknown model \(hf-hub:a/b\)"):
        build("timm:hf-hub:a/b", 1, 5, 0.2)
    check_library("timm:known.in1k")


@pytest.mark.parametrize("name", ["torchvision:../x", "torchvision:", "timm:resnt", "timm:"])
def test_a_check_refuses_a_net_that_a_run_would_refuse(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fakes = {n: ModuleType(n) for n in ("timm", "torchvision")}
    fakes["timm"].list_models = lambda: ["resnet18"]  # type: ignore[attr-defined]
    fakes["torchvision"].models = SimpleNamespace(list_models=lambda: ["resnet18"])  # type: ignore[attr-defined]
    for library, fake in fakes.items():
        monkeypatch.setitem(sys.modules, library, fake)
    refusals = []
    for call in (lambda: describe({"path": str(tmp_path), "model": name}), lambda: build(name, 3, 4, 0.0)):
        with pytest.raises(SpecError) as refused:
            call()
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]
    assert refusals[0].startswith(f"task.model: '{name}' is unknown")
