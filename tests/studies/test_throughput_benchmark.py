"""The loops that the benchmark writes by hand train as well as they should, so that lab is compared with something."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from lab.spec.study import StudySpec, parse_spec
from lab.tasks.digits import Digits
from tests.small import ROOT, small


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    import throughput_by_hand

    return throughput_by_hand


@pytest.mark.parametrize("loop", ["tuned", "typical"])
@pytest.mark.parametrize("cycles", [1, 2])
def test_a_loop_by_hand_learns(by_hand: ModuleType, loop: str, cycles: int):
    spec: StudySpec = parse_spec(small())
    params: dict[str, Any] = {"max_lr": 0.01, "cycles": cycles, "weight_decay": 0.01, "dropout": 0.1, "seed": 0}
    torch.manual_seed(0)
    scores = list(getattr(by_hand, loop)(spec, Digits(), params, 6))
    assert len(scores) == 6
    assert scores[-1] > max(0.9, scores[0])


def test_a_worker_reads_the_study_that_was_sent(by_hand: ModuleType):
    spec = parse_spec(small(batch_size=32))
    loaded, task = by_hand._loaded(spec.model_dump_json())
    assert loaded.what() == spec.what()
    assert isinstance(task, Digits)
