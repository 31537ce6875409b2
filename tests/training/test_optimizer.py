"""Rows are updated exactly as `torch.optim` updates parameters, while everything changes at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lab.errors import SpecError
from lab.training.optimizer import SGD, AdamW, RowOptimizer, Step, build_optimizer, step_all

STEPS = 200


def _curves(seed: int) -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(seed)
    lr, momentum, decay = rng.uniform(1e-4, 0.1, STEPS), rng.uniform(0, 0.99, STEPS), rng.uniform(0, 0.3, STEPS)
    momentum[[3, 50]] = 0.0
    return list(zip(lr.tolist(), momentum.tolist(), decay.tolist(), strict=True))


def _gradient(row: torch.Tensor, step: int) -> torch.Tensor:
    return row + torch.sin(torch.arange(len(row), dtype=row.dtype) + step)


def _ours(optimizer: RowOptimizer, curves: list[tuple[float, float, float]], way: str) -> torch.Tensor:
    rows = torch.zeros(3, 17, dtype=torch.float64)  # a row inside a larger tensor, as a slot's is
    row = rows[1]
    row.copy_(torch.linspace(-1, 1, 17, dtype=torch.float64))
    state = optimizer.state(row)
    for i, curve in enumerate(curves):
        step = Step(row, _gradient(row, i), state, *curve)
        if way == "one":
            optimizer.step(step)
        else:
            step_all([optimizer], [step])
    assert torch.equal(rows[[0, 2]], torch.zeros(2, 17, dtype=torch.float64)), "the neighbours' rows"
    return row


def _torch(kind: type[torch.optim.Optimizer], curves: list[tuple[float, float, float]], **options: Any) -> torch.Tensor:
    parameter = torch.linspace(-1, 1, 17, dtype=torch.float64).requires_grad_()
    optimizer = kind([parameter], **options)
    (group,) = optimizer.param_groups
    for step, (lr, momentum, decay) in enumerate(curves):
        group["lr"], group["weight_decay"] = lr, decay
        if kind is torch.optim.AdamW:
            group["betas"] = (momentum, options["betas"][1])
        else:
            group["momentum"] = momentum
            group["nesterov"] = options["nesterov"] and momentum > 0
        parameter.grad = _gradient(parameter.detach(), step)
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("way", ["one", "all"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("beta2", "eps"), [(0.99, 1e-5), (0.999, 1e-8)])
def test_adamw_is_torchs(seed: int, beta2: float, eps: float, way: str):
    curves = _curves(seed)
    expected = _torch(torch.optim.AdamW, curves, betas=(0.9, beta2), eps=eps, foreach=False)
    torch.testing.assert_close(_ours(AdamW(beta2, eps), curves, way), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", ["one", "all"])
@pytest.mark.parametrize("first_momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs(nesterov: bool, first_momentum: float, way: str):
    (lr, _, decay), *rest = _curves(0)
    curves = [(lr, first_momentum, decay), *rest]
    expected = _torch(torch.optim.SGD, curves, lr=0.1, momentum=0.9, nesterov=nesterov, foreach=False)
    torch.testing.assert_close(_ours(SGD(nesterov), curves, way), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", [1e-3, 0.5, 1e6])
def test_clipping_is_torchs(length: float):
    curves = [(1.0, 0.0, 0.0)] * 3
    row = torch.linspace(-1, 1, 17, dtype=torch.float64)
    plain = row.clone().requires_grad_()
    optimizer, state = SGD(max_grad_norm=length), SGD().state(row)
    torchs = torch.optim.SGD([plain], lr=1.0)
    for step, curve in enumerate(curves):
        grad = _gradient(row, step)
        optimizer.step(Step(row, grad, state, *curve))
        plain.grad = _gradient(plain.detach(), step)
        torch.nn.utils.clip_grad_norm_([plain], length)
        torch.testing.assert_close(grad, plain.grad, rtol=0, atol=1e-12)
        torchs.step()
        torch.testing.assert_close(row, plain.detach(), rtol=0, atol=1e-12)


def test_rows_are_updated_together_as_each_is_alone():
    """Rows of both kinds, each with options and a schedule of its own; to the last bit, whoever is beside it."""
    optimizers = [AdamW(0.99, 1e-5), SGD(nesterov=True), AdamW(0.9, 1e-8, max_grad_norm=0.5), SGD(), SGD()]
    starts = torch.randn(5, 17, generator=torch.Generator().manual_seed(0))
    curves = [_curves(seed) for seed in range(5)]

    def trained(chosen: list[int]) -> torch.Tensor:
        rows = starts[chosen].clone()
        states = [optimizers[i].state(row) for i, row in zip(chosen, rows, strict=True)]
        for n in range(STEPS):
            steps = [
                Step(row, _gradient(row, n), state, *curves[i][n])
                for i, row, state in zip(chosen, rows, states, strict=True)
            ]
            step_all([optimizers[i] for i in chosen], steps)
        return rows

    together = trained([0, 1, 2, 3, 4])
    assert together.isfinite().all()
    for i in range(5):
        assert torch.equal(trained([i])[0], together[i])


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_a_rate_that_float32_cannot_hold_breaks_its_own_row_alone(kind: type[AdamW] | type[SGD]):
    rows, optimizer = torch.ones(2, 5), kind()
    states = [optimizer.state(row) for row in rows]
    for _ in range(2):
        of_rows = zip(rows, states, (1e39, 0.1), strict=True)
        steps = [Step(row, torch.ones(5), state, lr, 0.9, 0.1) for row, state, lr in of_rows]
        step_all([optimizer] * 2, steps)
    assert not rows[0].isfinite().any()
    assert rows[1].isfinite().all()


@pytest.mark.parametrize("way", ["one", "all"])
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_without_weight_decay_a_weight_of_minus_infinity_stays(kind: type[AdamW] | type[SGD], way: str):
    row, optimizer = torch.tensor([-torch.inf, 1.0]), kind()
    step = Step(row, torch.tensor([0.0, 1.0]), optimizer.state(row), 0.1, 0.9, 0.0)
    if way == "one":
        optimizer.step(step)
    else:
        step_all([optimizer], [step])
    assert row[0] == -torch.inf
    assert row[1] < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sgd_of_half_precision_keeps_its_momentum(dtype: torch.dtype):
    row, optimizer = torch.linspace(-1, 1, 64, dtype=dtype), SGD()
    plain = row.clone().requires_grad_()
    torchs = torch.optim.SGD([plain], lr=0.01, momentum=0.9, foreach=False)
    state = optimizer.state(row)
    for n in range(8):
        optimizer.step(Step(row, _gradient(row, n), state, 0.01, 0.9, 0.0))
        plain.grad = _gradient(plain.detach(), n)
        torchs.step()
    torch.testing.assert_close(row, plain.detach(), rtol=0, atol=0.02)


def test_steps_are_counted_whatever_the_default_dtype():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        state = AdamW().state(torch.zeros(3, dtype=torch.float32))
    finally:
        torch.set_default_dtype(before)
    assert state["step"].dtype is torch.float32


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_what_is_no_number_in_one_row_stays_there(kind: type[AdamW] | type[SGD]):
    rows, optimizer = torch.ones(2, 5), kind()
    states = [optimizer.state(row) for row in rows]
    for _ in range(2):
        step_all(
            [optimizer] * 2,
            [
                Step(rows[0], torch.full((5,), torch.nan), states[0], 0.1, 0.9, 0.1),
                Step(rows[1], torch.ones(5), states[1], 0.1, 0.9, 0.1),
            ],
        )
    assert rows[0].isnan().all()
    assert rows[1].isfinite().all()


def test_a_trials_parameters_set_its_optimizer():
    params = {"beta2": 0.95, "max_grad_norm": 1.0, "max_lr": 0.1}
    assert build_optimizer({"eps": 1e-8}, params) == AdamW(0.95, 1e-8, max_grad_norm=1.0)
    assert build_optimizer({"kind": "sgd", "max_grad_norm": 2.0}) == SGD(max_grad_norm=2.0)
    with pytest.raises(SpecError, match=r"optimizer\.beta2: 1.5 is not a number in \[0, 1\)"):
        build_optimizer({}, {"beta2": 1.5})


def test_a_spec_names_the_optimizer():
    assert build_optimizer({}) == AdamW()
    assert build_optimizer({"kind": "adamw", "beta2": 0.9}) == AdamW(beta2=0.9)
    assert build_optimizer({"kind": "sgd", "nesterov": True}) == SGD(nesterov=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "adam"}, r"optimizer\.kind: 'adam' is unknown \(did you mean 'adamw'\?\); choices: adamw, sgd"),
        ({"kind": ["sgd"]}, r"optimizer\.kind: \['sgd'\] is unknown"),
        ({"kind": "sgd", "beta2": 0.9}, r"optimizer\.beta2: is unknown; allowed: max_grad_norm, nesterov"),
        (
            {"beta_2": 0.9},
            r"optimizer\.beta_2: is unknown \(did you mean 'beta2'\?\); allowed: beta2, eps, max_grad_norm",
        ),
        ({"beta2": 1.0}, r"optimizer\.beta2: 1.0 is not a number in \[0, 1\)"),
        ({"eps": "small"}, r"optimizer\.eps: 'small' is not a number"),
        ({"eps": float("nan")}, r"optimizer\.eps: nan is not a number"),
        ({"eps": 0}, r"optimizer\.eps: 0 is not a number above 0"),
        ({"max_grad_norm": 0}, r"optimizer\.max_grad_norm: 0 is not a number above 0"),
        ({"kind": "sgd", "max_grad_norm": float("nan")}, r"optimizer\.max_grad_norm: nan is not a number above 0"),
        ({"kind": "sgd", "nesterov": 1}, r"optimizer\.nesterov: 1 is not true or false"),
    ],
)
def test_a_bad_optimizer_is_refused_in_one_line(spec: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message):
        build_optimizer(spec)
