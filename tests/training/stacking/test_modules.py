"""Every layer with a rule, stacked, is the plain layer of each slot: no rule is without a case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.modules import RULES
from tests.training.stacking.alike import check_alike, inputs, stacked_of

FLAT, LINE, IMAGE, VOLUME = (5, 6), (4, 4, 8), (4, 4, 6, 6), (3, 2, 4, 4, 4)
CASES: dict[type[nn.Module], list[tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    nn.Linear: [
        (lambda: nn.Linear(6, 3), FLAT),
        (lambda: nn.Linear(8, 3, bias=False), LINE),
        (lambda: nn.Linear(6, 1), FLAT),
    ],
    nn.Conv1d: [(lambda: nn.Conv1d(4, 6, 3, stride=2), LINE)],
    nn.Conv2d: [
        (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), IMAGE),
        (lambda: nn.Conv2d(4, 3, 3, dilation=2, bias=False), IMAGE),
    ],
    nn.Conv3d: [(lambda: nn.Conv3d(2, 3, 3), VOLUME)],
    nn.ConvTranspose1d: [(lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, output_padding=1), LINE)],
    nn.ConvTranspose2d: [(lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, padding=1), IMAGE)],
    nn.Dropout: [(lambda: nn.Dropout(0.0), FLAT)],
    nn.Dropout1d: [(lambda: nn.Dropout1d(0.0), LINE)],
    nn.Dropout2d: [(lambda: nn.Dropout2d(0.0), IMAGE)],
    nn.Dropout3d: [(lambda: nn.Dropout3d(0.0), VOLUME)],
    nn.Flatten: [(lambda: nn.Flatten(), IMAGE)],
    nn.Unflatten: [(lambda: nn.Unflatten(1, (2, 3)), FLAT)],
    nn.Softmax: [(lambda: nn.Softmax(1), FLAT), (lambda: nn.Softmax(-1), LINE)],
    nn.LogSoftmax: [(lambda: nn.LogSoftmax(1), FLAT)],
    nn.MaxPool1d: [(lambda: nn.MaxPool1d(2), LINE)],
    nn.MaxPool2d: [(lambda: nn.MaxPool2d(2), IMAGE)],
    nn.AvgPool1d: [(lambda: nn.AvgPool1d(2), LINE)],
    nn.AvgPool2d: [(lambda: nn.AvgPool2d(3, padding=1), IMAGE)],
    nn.AdaptiveAvgPool1d: [(lambda: nn.AdaptiveAvgPool1d(3), LINE)],
    nn.AdaptiveAvgPool2d: [(lambda: nn.AdaptiveAvgPool2d(2), IMAGE)],
    nn.AdaptiveMaxPool1d: [(lambda: nn.AdaptiveMaxPool1d(2), LINE)],
    nn.AdaptiveMaxPool2d: [(lambda: nn.AdaptiveMaxPool2d(2), IMAGE)],
    nn.Upsample: [(lambda: nn.Upsample(scale_factor=2), IMAGE)],
    nn.ZeroPad1d: [(lambda: nn.ZeroPad1d(1), LINE)],
    nn.ZeroPad2d: [(lambda: nn.ZeroPad2d((1, 2, 0, 1)), IMAGE)],
    nn.PReLU: [
        (lambda: nn.PReLU(), FLAT),
        (lambda: nn.PReLU(4), IMAGE),
        (lambda: nn.PReLU(6), FLAT),
        (lambda: nn.PReLU(4), LINE),
    ],
    nn.BatchNorm1d: [(lambda: nn.BatchNorm1d(6), FLAT), (lambda: nn.BatchNorm1d(4, affine=False), LINE)],
    nn.BatchNorm2d: [
        (lambda: nn.BatchNorm2d(4, momentum=0.3), IMAGE),
        (lambda: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    ],
    nn.BatchNorm3d: [(lambda: nn.BatchNorm3d(2), VOLUME)],
    nn.LayerNorm: [(lambda: nn.LayerNorm(6), FLAT), (lambda: nn.LayerNorm((4, 8), bias=False), LINE)],
    nn.GroupNorm: [(lambda: nn.GroupNorm(2, 4), IMAGE), (lambda: nn.GroupNorm(4, 4, affine=False), IMAGE)],
    nn.RMSNorm: [(lambda: nn.RMSNorm(6), FLAT), (lambda: nn.RMSNorm(8, elementwise_affine=False), LINE)],
}
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus)
ACTIVATIONS += (nn.Softsign, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Identity)
CASES |= {kind: [(kind, FLAT), (kind, IMAGE)] for kind in ACTIVATIONS}
OTHERWISE = {nn.Embedding, nn.MultiheadAttention}
"""Layers of codes, and of several inputs; see below."""


def between(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    """The layer behind one with parameters, so that gradients go through it, and before one that has them too."""
    before: dict[int, Callable[[], nn.Module]] = {
        2: lambda: nn.Linear(shape[1], shape[1]),
        3: lambda: nn.Conv1d(shape[1], shape[1], 1),
        4: lambda: nn.Conv2d(shape[1], shape[1], 1),
        5: lambda: nn.Conv3d(shape[1], shape[1], 1),
    }
    return lambda: nn.Sequential(before[len(shape)](), build())


@pytest.mark.parametrize(
    ("build", "shape"),
    [pytest.param(*case, id=f"{kind.__name__}-{i}") for kind, cases in CASES.items() for i, case in enumerate(cases)],
)
def test_a_stacked_layer_is_the_plain_one_of_each_slot(build: Callable[[], nn.Module], shape: tuple[int, ...]):
    assert check_alike(between(build, shape), shape).by_vmap == ()


def test_no_rule_is_without_a_case():
    assert set(RULES) == set(CASES) | OTHERWISE


@pytest.mark.parametrize("shape", [(5,), (5, 4)])
def test_a_slots_codes_point_into_its_own_table(shape: tuple[int, ...]):
    check_alike(lambda: nn.Sequential(nn.Embedding(7, 3)), shape, codes=7)
    check_alike(lambda: nn.Sequential(nn.Embedding(7, 3, padding_idx=0)), shape, codes=7)


class Attends(nn.Module):
    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        mixed, _ = self.attention(x, x * 2, x + 1, need_weights=False)
        return mixed


@pytest.mark.parametrize("bias", [True, False])
def test_attention_of_queries_keys_and_values_that_differ(bias: bool):
    assert check_alike(lambda: Attends(bias=bias), LINE).by_vmap == ()


@pytest.mark.parametrize(
    ("build", "shape", "codes"),
    [
        (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), IMAGE, 0),
        (lambda: nn.Embedding(7, 3, max_norm=1.0), (5,), 7),
    ],
)
def test_a_form_without_a_rule_runs_by_vmap_or_is_refused(
    build: Callable[[], nn.Module], shape: tuple[int, ...], codes: int
):
    try:
        stacked, _ = stacked_of(lambda: nn.Sequential(build()), inputs(shape, codes))
    except NotStackable as error:
        assert "it cannot be run for all slots at once" in str(error)
    else:
        assert stacked.by_vmap
