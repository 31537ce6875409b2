"""The benchmark of what a proposal sees: its rule is the ledger's, and its lanes wait as they should."""

from __future__ import annotations

from types import ModuleType

import pytest

from lab.record.turns import taught_by
from tests.small import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    import concurrency

    return concurrency


@pytest.mark.parametrize("concurrency", [2, 4, 16])
def test_half_blocks_are_the_ledgers_rule(bench: ModuleType, concurrency: int) -> None:
    rule = bench.Rule(concurrency, concurrency // 2)
    assert [rule.seen(n) for n in range(100)] == [taught_by(n, concurrency) for n in range(100)]


def test_one_after_the_other_nobody_waits_and_unequal_lanes_do(bench: ModuleType) -> None:
    alone = bench.Machine("alone", 1, 1, 12, 4)
    assert bench.last_end(alone, bench.Rule(4, 2), 0) == bench.last_end(alone, None, 0)
    unequal = bench.Machine("unequal", 4, 1, 32, 4, lengths=0.5)
    assert bench.last_end(unequal, bench.Rule(4, 4), 0) > bench.last_end(unequal, None, 0)
