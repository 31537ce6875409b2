"""The average of a run's weights as one of the models that the ensemble is chosen from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.errors import RecordError, SpecError
from lab.record.folder import Record
from lab.spec.study import parse_spec
from lab.stages import ensemble, final, refit, selection
from lab.stages.final import AVERAGED, LONG, SHORTER, Run
from lab.stages.stage import Trainings
from lab.study.cost import trainings
from lab.study.study import Study
from lab.tasks.beside import Beside
from lab.tasks.digits import Digits
from lab.training.ensemble import Selection
from tests.small import small, small_spec


def _spec() -> dict[str, Any]:
    return small(
        space={"max_lr": {"low": 0.003, "high": 0.03, "log": True}},
        search={"trials": 2, "epochs": 1, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 2, "seeds": 2, "snapshots": 1, "refit_seeds": 1, "ema_decay": 0.9, "controls": "none"},
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose choice takes the averages beside the last weights."""
    folder = tmp_path_factory.mktemp("average")

    def takes_averages(members: torch.Tensor, count: int, loss: Any) -> Selection:
        return Selection((count, count, *[0] * (len(members) - 2)), 0.1, 0.2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "gated", takes_averages)
        study = Study.from_spec(parse_spec(_spec()), folder / "run")
        study.run()
    return study


def test_it_is_kept_beside_the_last_weights_of_what_is_chosen_from(study: Study):
    runs = final.STAGE.need(study.record).runs
    assert {run.role for run in runs} == {LONG, SHORTER}
    for run in runs:
        assert run.averaged == f"{run.trial:04d}-1.safetensors"
        assert run.snapshots == (f"{run.trial:04d}-0.safetensors",)
    controls = {control.name: control.epochs for control in ensemble.STAGE.read(study.record).controls}
    assert controls["average of a 1cycle run's weights"] == controls["single 1cycle run"] == 2
    assert controls["mean of 2 1cycle runs"] == 4


def test_what_is_chosen_is_handed_out_so(study: Study):
    chosen = ensemble.STAGE.read(study.record).chosen
    assert [member.role for member in chosen.members] == [LONG] * 2 + [AVERAGED] * 2
    assert not chosen.plain
    handed = refit.STAGE.read(study.record)
    assert isinstance(handed, refit.Refitted)
    assert sorted(member.file[4:6] for member in handed.members) == ["-0"] * 2 + ["-1"] * 2
    assert all((study.record.refit_folder / member.file).is_file() for member in handed.members)
    x, _ = study.result.ensemble.test_data()
    assert study.result.ensemble.predict(x).shape == (len(x), 10)
    assert "4 snapshots" in ensemble.STAGE.headline(ensemble.STAGE.read(study.record))


def test_a_lost_average_is_said_in_a_line(study: Study, tmp_path: Path):
    import shutil

    copy = shutil.copytree(study.record.folder, tmp_path / "copy")
    for name in ("final.json", "ensemble.json", "refit.json"):
        (copy / name).unlink()
    lost = next(run for run in final.STAGE.need(study.record).runs if run.averaged)
    (copy / "final" / str(lost.averaged)).unlink()
    with pytest.raises(RecordError, match=rf"weights of trial {lost.trial} are missing; restore them from a copy"):
        Study.open(copy).run()


def test_runs_of_earlier_versions_have_none(study: Study, tmp_path: Path):
    held = json.loads((study.record.folder / "final.json").read_text())
    for run in held["runs"]:
        del run["averaged"]
    (tmp_path / "final.json").write_text(json.dumps(held))
    assert {run.averaged for run in final.STAGE.need(Record(tmp_path)).runs} == {None}


def test_averages_are_a_group_of_their_own_that_has_to_prove_itself():
    task, generator = Digits(), torch.Generator().manual_seed(0)
    y = task.data("valid")[1]

    def trained(role: str, seed: int, right: float, averaged: bool) -> selection.Trained:
        logits = torch.randn(len(y), 10, generator=generator, dtype=torch.float64)
        logits[torch.arange(len(y)), y] += right
        run = Run(role, seed, seed, {}, 4, "completed", 0.9, ("a",), "b")
        return selection.Trained(run, "b" if averaged else "a", logits.softmax(1), logits.softmax(1))

    judge = selection._Judge(task, {None: y}, y, Beside())
    for right, taken in ((-4.0, False), (12.0, True)):
        pool = [trained(LONG, s, right if averaged else 4.0, averaged) for s in range(2) for averaged in (False, True)]
        pool += [trained(SHORTER, 7, 1.0, averaged) for averaged in (True, False)]
        groups, chosen = judge.choose(selection._alike(pool))
        assert [[t.role for t in group] for group in groups] == [[LONG] * 2, [AVERAGED] * 2]  # type: ignore[union-attr]
        assert (chosen.counts[1] > 0) == taken


def test_it_is_counted_as_snapshots_and_trains_nothing_more():
    section = {"epochs": 6, "seeds": 3, "snapshots": 1, "controls": "none", "refit_seeds": 2}
    without, with_it = (trainings(small_spec(final={**section, **more}), None) for more in ({}, {"ema_decay": 0.99}))
    assert with_it["final"] == Trainings(
        without["final"].trainings, without["final"].epochs, snapshots=without["final"].snapshots + 6
    )
    assert with_it["refit"].snapshots == without["refit"].snapshots + 6


@pytest.mark.parametrize("decay", [0, 1, -0.5, "much", True])
def test_an_impossible_decay_is_refused_in_a_line(decay: Any):
    with pytest.raises(SpecError, match=r"^final\.ema_decay: ") as refused:
        small_spec(final={"ema_decay": decay})
    assert "\n" not in str(refused.value)
