"""The last stage: what is beside the study's own models must not cost them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.dummy import DummyClassifier
from torch import Tensor

from lab.record.folder import Record, read_json, write_json
from lab.stages import refit, selection
from lab.stages.ensemble import STAGE, ChosenEnsemble, Ensembled, Member
from lab.stages.final import CYCLICAL, LONG, SHORTER, Run
from lab.tasks.beside import Beside
from lab.tasks.digits import Digits


def _trained(role: str, seed: int, logits: Tensor, file: str = "a", snapshots: tuple[str, ...] = ("a",)) -> Any:
    run = Run(role, seed, seed, {}, 4, "completed", 0.9, snapshots)
    return selection.Trained(run, file, logits.softmax(1), logits.softmax(1))


def _of_fold(fold: int, role: str, seed: int, logits: Tensor, test: Tensor) -> Any:
    run = Run(role, seed, seed, {}, 4, "completed", 0.9, ("a",))
    return selection.Trained(run, "a", logits.softmax(1), test.softmax(1), fold)


def _sure(target: Tensor, right: float, generator: torch.Generator) -> Tensor:
    """Logits that say the target with so much weight, and noise."""
    logits = torch.randn(len(target), 10, generator=generator, dtype=torch.float64)
    logits[torch.arange(len(target)), target] += right
    return logits


def test_the_choice_begins_with_the_1cycle_runs_and_takes_what_surely_helps() -> None:
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]
    judge = selection._Judge(task, {None: y}, y, Beside())
    long = [_trained(LONG, seed, _sure(y, 4.0, generator)) for seed in range(3)]
    useless = [_trained(CYCLICAL, seed, _sure(y, -4.0, generator)) for seed in (7, 8)]
    groups = selection._alike([*useless, *long])
    assert [[t.run.role for t in group] for group in groups] == [[LONG] * 3, [CYCLICAL] * 2]
    assert judge.choose(groups)[1].counts == (3, 0)
    better = [_trained(CYCLICAL, seed, _sure(y, 12.0, generator)) for seed in (7, 8)]
    assert judge.choose(selection._alike([*better, *long]))[1].counts[1] > 0


def test_snapshots_of_a_cycle_are_one_group_whatever_their_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.zeros(30, dtype=torch.int64)
    names = ("x", "y")
    of_cycles = [_trained(CYCLICAL, seed, _sure(y, 1.0, generator), name, names) for seed in range(2) for name in names]
    groups = selection._alike(of_cycles)
    assert [[(t.run.seed, t.file) for t in group] for group in groups] == [[(0, "x"), (1, "x")], [(0, "y"), (1, "y")]]


def test_shorter_runs_are_taken_where_longer_ones_are_surely_worse() -> None:
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]
    judge = selection._Judge(task, {None: y}, y, Beside())
    long = [_trained(LONG, seed, _sure(y, 4.0, generator)) for seed in range(3)]
    for right, first in ((7.0, SHORTER), (4.0, LONG), (1.0, LONG)):
        if right == 4.0:
            shorter = [replace(t, run=replace(t.run, role=SHORTER)) for t in long]  # exactly as good
        else:
            shorter = [_trained(SHORTER, seed, _sure(y, right, generator)) for seed in range(3)]
        groups = judge.of_better_length(selection._alike([*long, *shorter]))
        assert [[t.run.role for t in group] for group in groups] == [[first] * 3]


def test_a_loss_that_could_not_be_had_is_not_taken_for_an_earlier_versions(tmp_path: Path) -> None:
    """Those are not trained once more."""
    chosen = ChosenEnsemble((Member("a", {}, 1.0),), 1.0, math.nan, 4, {"rmse": 0.5}, start_valid_loss=math.nan)
    ensembled = Ensembled("rmse", "regression", 3, chosen, (), lacks=("choice: left out (ValueError: none)",))
    record = Record(tmp_path)
    again = STAGE.write(record, ensembled)
    assert isinstance(again, Ensembled)
    assert again.lacks == ensembled.lacks
    assert again.chosen.start_valid_loss is not None
    assert refit.STAGE.needless(record) is None
    earlier = read_json(STAGE.path(record))
    del earlier["chosen"]["start_valid_loss"]
    write_json(STAGE.path(record), earlier)
    assert refit.STAGE.needless(record) is not None


def test_each_row_is_judged_by_those_who_were_trained_without_its_fold() -> None:
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]
    of_fold = {0: y[:60], 1: y[60:100], 2: y[100:]}
    judge = selection._Judge(task, of_fold, y, Beside())
    models = [
        _of_fold(n % 3, LONG, n, _sure(of_fold[n % 3], 3.0, generator), _sure(y, 3.0, generator)) for n in range(4)
    ]
    mean = judge.average(models)
    assert torch.equal(mean.valid_y, y)
    assert torch.allclose(mean.valid[:60], (models[0].valid + models[3].valid) / 2)
    assert torch.equal(mean.valid[60:100], models[1].valid)
    assert torch.allclose(mean.test, torch.stack([model.test for model in models]).mean(dim=0))
    lacking = judge.average(models[1:3])
    assert torch.equal(lacking.valid_y, y[60:])
    assert len(judge.calibrated(lacking).mean.test) == len(y)
    assert judge.out_of_fold(judge.calibrated(mean))["accuracy"] > 0.8
    better = [_of_fold(f, CYCLICAL, f, _sure(of_fold[f], 12.0, generator), _sure(y, 12.0, generator)) for f in range(3)]
    assert judge.choose([models, better])[1].counts[1] > 0
    shorter = [_of_fold(f, SHORTER, f, _sure(of_fold[f], 9.0, generator), _sure(y, 9.0, generator)) for f in range(2)]
    assert judge.of_better_length([models, shorter]) == [shorter], "judged by the folds that both have"


@pytest.mark.parametrize(("params", "joins"), [({}, True), ({"balance": 0.0}, True), ({"balance": 0.5}, False)])
def test_what_was_not_weighted_does_not_join_nets_that_were(params: dict[str, Any], joins: bool) -> None:
    """However much better its likelihood is: nets that name rare classes more often have been asked for."""
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]
    long = [_trained(LONG, seed, _sure(y, 2.0, generator)) for seed in range(3)]
    long = [replace(t, run=replace(t.run, params=params)) for t in long]
    better = _sure(y, 9.0, generator).softmax(1)
    tree = selection.Joining("a tree", None, better, better)
    ensembled = selection.conclude(task, [t.run for t in long], long, {None: y}, y, Beside(), [[tree]])
    assert any(member.name == "a tree" for member in ensembled.chosen.members) == joins


def test_what_cannot_be_written_down_does_not_join_however_good_it_is() -> None:
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]
    long = [_trained(LONG, seed, _sure(y, 2.0, generator)) for seed in range(3)]
    better = _sure(y, 9.0, generator).softmax(1)

    def among(joining: Sequence[Sequence[selection.Joining]]) -> Ensembled:
        return selection.conclude(task, [t.run for t in long], long, {None: y}, y, Beside(), joining)

    prior = DummyClassifier(strategy="prior").fit(torch.zeros(4, 1), [0, 1, 1, 1])
    for estimator, names in ((object(), set()), (prior, {"a tree"})):
        tree = selection.Joining("a tree", estimator, better, better)
        ensembled, kept = selection.that_can_be_kept(among, [[tree]])
        assert {member.name for member in ensembled.chosen.members} - {""} == names
        assert kept.keys() == ({tree.file} if names else set())
