"""An optimizer that cannot be is refused where the spec says so, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import SpecError
from lab.spec.optimizer import check_optimizer, optimizer_options
from lab.spec.space import Choice, Dimension, Float, Int
from lab.training.optimizer import build_optimizer


@pytest.mark.parametrize(
    ("spec", "space", "message"),
    [
        ({}, {"beta2": Float(0.9, 1.5)}, "space.beta2: 1.5 is not a number in [0, 1)"),
        ({}, {"eps": Float(0.0, 1e-5)}, "space.eps: 0.0 is not a number above 0"),
        ({}, {"eps": Choice((1e-8, -1e-8))}, "space.eps: -1e-08 is not a number above 0"),
        ({"kind": "sgd"}, {"max_grad_norm": Int(0, 2)}, "space.max_grad_norm: 0 is not a number above 0"),
        ({"kind": "sgd"}, {"nesterov": Float(0, 1)}, "space.nesterov: 0 is not true or false"),
        ({"beta2": 1.5}, {}, "optimizer.beta2: 1.5 is not a number in [0, 1)"),
        ({"kind": "sgd", "beta2": 0.9}, {}, "optimizer.beta2: is unknown; allowed: max_grad_norm, nesterov"),
        ({}, {"optimizer": Choice(("adam", "sgd"))}, "space.optimizer: 'adam' is unknown (did you mean 'adamw'?)"),
        ({}, {"optimizer": Float(0, 1)}, "space.optimizer: is a range; give a choice of adamw, sgd"),
        (
            {},
            {"optimizer": Choice(("sgd", "adamw")), "beta2": Float(0, 2)},
            "space.beta2: 2 is not a number in [0, 1)",
        ),
        (
            {"beta_2": 0.9},
            {"optimizer": Choice(("sgd", "adamw"))},
            "optimizer.beta_2: is unknown (did you mean 'beta2'?); allowed: beta2, eps, max_grad_norm, nesterov",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(spec: dict[str, Any], space: dict[str, Dimension], message: str):
    with pytest.raises(SpecError) as caught:
        check_optimizer(spec, space)
    assert str(caught.value).startswith(message)


@given(
    kinds=st.lists(st.sampled_from(["adamw", "sgd"]), unique=True, max_size=2),
    own=st.sampled_from(["adamw", "sgd"]),
    beta2=st.floats(0, 0.999),
    eps=st.floats(1e-12, 1),
    limit=st.one_of(st.none(), st.floats(1e-3, 1e3)),
)
def test_what_was_not_refused_can_be_built(kinds: list[str], own: str, beta2: float, eps: float, limit: float | None):
    space: dict[str, Dimension] = {"beta2": Float(0, beta2), "eps": Float(eps, 1.0, log=True)}
    if kinds:
        space["optimizer"] = Choice(tuple(kinds))
    check_optimizer({"kind": own, "max_grad_norm": limit}, space)
    for kind in kinds or [None]:
        chosen = {} if kind is None else {"optimizer": kind}
        built = build_optimizer({"kind": own, "max_grad_norm": limit}, {"beta2": beta2, "eps": eps, **chosen})
        assert type(built).__name__.lower() == (kind or own)
        assert built.max_grad_norm == limit


def test_a_trial_that_chooses_its_kind_keeps_what_the_spec_says_of_both():
    spec = {"kind": "adamw", "beta2": 0.95, "max_grad_norm": 1.0}
    assert optimizer_options(spec, {"optimizer": "sgd", "nesterov": True}) == (
        "sgd",
        {"max_grad_norm": 1.0, "nesterov": True},
    )
    assert optimizer_options(spec, {"optimizer": "adamw"}) == ("adamw", {"beta2": 0.95, "max_grad_norm": 1.0})
