"""The Python face, and what the stages hand on to each other."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lab
from lab.errors import RecordError, SpecError, TaskError
from lab.record.folder import UNFINISHED, Record
from lab.record.spec_file import dump_spec
from lab.record.trials import read_trials
from lab.stages import STAGES
from lab.study.check import unread_doubts
from lab.study.cost import trainings
from lab.study.study import Study
from lab.tasks.digits import Digits
from lab.tasks.task import Task
from tests import forked
from tests.small import ROOT, environment, small, small_spec

sys.path.insert(0, str(ROOT / "studies"))


def test_every_stage_leaves_its_artefact_and_the_table_holds_every_trial(small_study: Study) -> None:
    folder = small_study.record.folder
    for stage in STAGES:
        assert stage.read(small_study.record) is not None, stage.name
    for name in ("study.yaml", "ledger.journal", "trials.parquet", "report.html", "ensemble.json"):
        assert (folder / name).is_file()
    table = pd.read_parquet(folder / "trials.parquet")
    planned = {stage: made.trainings for stage, made in trainings(small_study.spec, None).items()}
    made = table.groupby("stage").size().to_dict()
    assert made["refit"] <= planned.pop("refit")  # the cyclical run is trained once more only if it was chosen
    assert {stage: count for stage, count in made.items() if stage != "refit"} == planned
    assert not list(folder.glob(f".*{UNFINISHED}"))


def test_the_range_test_bounds_the_search(small_study: Study) -> None:
    bounds = small_study.result.artefact("bounds")
    assert 1e-5 <= bounds["low"] < bounds["high"] <= 10
    for row in read_trials(small_study.record, "explore"):
        assert bounds["low"] <= row.params["max_lr"] <= bounds["high"]


def test_confirmation_uses_seeds_the_search_never_saw_and_chooses_by_the_mean(small_study: Study) -> None:
    explored = {row.trial.seed for row in read_trials(small_study.record, "explore")}
    fresh = [row.trial.seed for row in read_trials(small_study.record, "confirm")]
    assert len(set(fresh)) == len(fresh)
    assert not explored & set(fresh)
    confirm = small_study.result.artefact("confirm")
    for kind, entry in confirm["chosen"].items():
        means = [c["summary"]["mean"] for c in confirm["candidates"] if c["kind"] == kind]
        assert entry["summary"]["mean"] == max(means)


def test_the_final_stage_trains_models_and_as_many_controls_of_each_kind(small_study: Study) -> None:
    """Two 1cycle runs and a cyclical one, each of which may be trained once more, and two 1cycle runs as long as one of
    the search: 30 epochs in all, so eight runs of 4 epochs of each control."""
    runs = small_study.result.artefact("final")["runs"]
    counts = Counter(r["role"] for r in runs)
    assert counts == {"one_cycle": 2, "shorter": 2, "several": 1, "more": 6, "no_hero": 8}
    assert {(r["role"] == "shorter", r["epochs"]) for r in runs} == {(True, 3), (False, 4)}
    assert {len(r["snapshots"]) for r in runs if r["role"] == "several"} == {2}
    assert {len(r["snapshots"]) for r in runs if r["role"] != "several"} == {1}
    assert len({row.trial.seed for row in read_trials(small_study.record, "final")}) == len(runs)


def test_the_controls_cost_what_is_handed_out_may_cost(small_study: Study) -> None:
    epochs = {c["name"]: c["epochs"] for c in small_study.result.artefact("ensemble")["controls"]}
    assert epochs["mean of 8 1cycle runs"] == epochs["mean of 8 runs without a search"] == 8 * 4
    assert epochs["single 1cycle run"] == epochs["all snapshots of a run"] == 4
    chosen, refit = small_study.result.artefact("ensemble")["chosen"], small_study.result.artefact("refit")
    once = refit["epochs"] / small_study.spec.final.refit_seeds
    assert chosen["epochs"] + once <= 8 * 4


def test_what_was_chosen_is_trained_once_more_on_training_and_validation_examples(small_study: Study) -> None:
    chosen, refit = small_study.result.artefact("ensemble")["chosen"], small_study.result.artefact("refit")
    assert refit["trained_on"] == 1437
    assert refit["temperature"] == chosen["temperature"]
    weights = [m["weight"] for m in chosen["members"]]
    assert [m["weight"] for m in refit["members"]] == pytest.approx([weight / 3 for weight in weights] * 3)
    assert [m["params"] for m in refit["members"]] == [m["params"] for m in chosen["members"]] * 3
    assert len({m["file"] for m in refit["members"]}) == 3 * len(weights)
    again = read_trials(small_study.record, "refit")
    assert not {row.trial.seed for row in again} & {row.trial.seed for row in read_trials(small_study.record, "final")}
    assert {str(row.outcome) for row in again} == {"completed"}
    # An epoch has the steps of 1,437 examples, where the training rows alone make 16.
    assert {path.name for path in small_study.record.refit_folder.iterdir()} >= {m["file"] for m in refit["members"]}


def test_what_is_handed_out_predicts_what_it_was_scored_on(small_study: Study) -> None:
    from lab.tasks.digits import Digits

    x, y = Digits().data("test")
    probabilities = small_study.result.ensemble.predict(x)
    accuracy = float((probabilities.argmax(dim=1) == y).float().mean())
    assert probabilities.dtype == torch.float32
    assert accuracy == pytest.approx(small_study.result.artefact("refit")["test"]["accuracy"])


def test_without_a_refit_the_chosen_models_are_handed_out(tmp_path: Path) -> None:
    from lab.tasks.digits import Digits

    final = {"refit": False, "controls": "none", "snapshots": 1, "seeds": 2}
    spec = small_spec(search={"trials": 4, "epochs": 2}, final=final, confirm={"one_cycle": 1, "several": 0})
    study = Study.from_spec(spec, tmp_path / "run")
    result = study.run()
    assert result.artefact("refit") == {"skipped": "final.refit is false"}
    assert [run["role"] for run in result.artefact("final")["runs"]] == ["one_cycle"] * 2 + ["shorter"] * 2
    x, y = Digits().data("test")
    accuracy = float((result.ensemble.predict(x).argmax(dim=1) == y).float().mean())
    assert accuracy == pytest.approx(result.artefact("ensemble")["chosen"]["test"]["accuracy"])
    assert "not trained once more: final.refit is false" in (tmp_path / "run/report.html").read_text()


def test_results_are_objects_to_work_with(small_study: Study) -> None:
    response = small_study.result.response
    assert response.effects("dropout").plot().data
    with pytest.raises(KeyError, match="did you mean 'dropout'"):
        response.effects("dropuot")
    assert set(small_study.result.trials["stage"]) == {"bounds", "explore", "confirm", "final", "refit"}


def test_a_study_of_a_task_object_and_a_space(tmp_path: Path) -> None:
    from custom_task import BreastCancer

    space = lab.Space(max_lr=lab.Float(1e-3, 0.1, log=True), dropout=lab.Float(0, 0.5))
    settings: dict[str, Any] = {k: v for k, v in small().items() if k in ("confirm", "final")}
    study = lab.Study(
        task=BreastCancer(), space=space, trials=6, epochs=2, folder=tmp_path / "run", batch_size=32, **settings
    )
    result = study.run(engine="local")
    assert result.artefact("ensemble")["chosen"]["test"]["accuracy"] > 0.8
    assert result.ensemble.class_names == ("malignant", "benign")
    assert lab.Study.open(tmp_path / "run").result.ensemble.predict(BreastCancer().data("test")[0]).shape == (114, 2)


def test_a_hyperparameter_that_nothing_reads_is_told(tmp_path: Path) -> None:
    from lab.record.spec_file import read_spec

    slip = {"space.dropuot": {"low": 0.0, "high": 0.5}}
    spec = read_spec(ROOT / "studies/custom_task.yaml", slip)
    assert unread_doubts(read_spec(ROOT / "studies/custom_task.yaml")) == ()
    assert unread_doubts(spec) == ("space.dropuot: the task was not seen to read it; then it is searched to no effect",)
    assert unread_doubts(read_spec(ROOT / "studies/trial_function.yaml", slip)) == ()
    with pytest.raises(SpecError, match=r"space\.dropuot: nothing reads it"):
        Study.from_spec(read_spec(ROOT / "studies/digits.yaml", slip), tmp_path / "run").check()


@pytest.mark.parametrize("name", ["custom_task", "trial_function"])
def test_the_studies_of_ones_own_run(name: str, tmp_path: Path) -> None:
    from lab.record.spec_file import read_spec

    overrides = {"search.trials": 6, "search.epochs": 3, "final.epochs": 4, "final.snapshots": 2, "bounds.steps": 40}
    study = Study.from_spec(read_spec(ROOT / f"studies/{name}.yaml", overrides), tmp_path / "run")
    result = study.run(engine="local")
    assert result.artefact("explore")["trials"] == 6
    skipped = result.artefact("ensemble").get("skipped")
    assert (skipped is None) == (name == "custom_task")
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_trial_function_is_told_its_schedule_and_seed(tmp_path: Path) -> None:
    seen: list[lab.Trial] = []

    @lab.trial_function(metric="loss", direction="minimize")
    def watched(trial: lab.Trial) -> Any:
        seen.append(trial)
        for epoch in range(trial.epochs):
            yield {"loss": trial.params["max_lr"] / (epoch + 1)}

    study = Study(watched, {"max_lr": {"low": 0.1, "high": 1.0}}, trials=5, epochs=2, folder=tmp_path / "run")
    result = study.run(engine="local", until="explore")
    assert len({trial.seed for trial in seen}) == 5
    assert all(trial.schedule.curves(None, 2).lr.max() <= trial.params["max_lr"] for trial in seen)
    best = result.artefact("explore")["best"]
    assert best["score"] == pytest.approx(min(trial.params["max_lr"] for trial in seen) / 2)


_SUMS = """
import torch
import lab
from lab.tasks.task import rmse


class Sums(lab.Task):  # without batch norm, which would see its own share
    kind = "regression"
    metric = "rmse"
    direction = "minimize"
    metrics = {"rmse": rmse}

    def model(self, params):
        return torch.nn.Linear(3, 1)

    def data(self, split):
        x = torch.randn(128, 3, generator=torch.Generator().manual_seed(len(split)))
        return x, x.sum(dim=1, keepdim=True)

    def loss(self, output, target):
        return (output - target).pow(2).mean(dim=1)
"""


_IN_SHARES = {"processes": 2, "sharded": True}


@pytest.mark.slow
@pytest.mark.usefixtures("lanes_forked")
def test_a_study_whose_batches_are_divided_among_two_processes_ends_as_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "sums.py").write_text(_SUMS)
    task = f"{tmp_path / 'sums.py'}:Sums"
    space = {"max_lr": {"low": 1e-3, "high": 0.03, "log": True}}
    execution = {"engine": "local", "lanes": 1, "path": "sequential", "width": 1}
    scores = []
    for name, more in (("alone", {"processes": 1}), ("two", {"processes": 2}), ("shares", _IN_SHARES)):
        study = Study(task, space, trials=2, epochs=2, folder=tmp_path / name, execution=execution | more)
        scores.append(study.run(until="explore").trials["score"].to_list())
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)  # in float32
    assert scores[2] == pytest.approx(scores[0], rel=1e-4)
    assert not [*tmp_path.glob("lab-peers-*")]
    cores = os.cpu_count() or 1
    space["batch_size"] = {"choice": [cores * 2]}
    study = Study(
        task, space, trials=2, epochs=2, folder=tmp_path / "more", execution=execution | {"processes": cores * 2}
    )
    with pytest.raises(SpecError, match=rf"execution\.processes: {cores * 2} is above the {cores} cores"):
        study.run(until="explore")


def test_a_resolved_spec_repeats_the_study(small_study: Study, tmp_path: Path) -> None:
    from lab.record.spec_file import read_spec

    again = Study.from_spec(read_spec(small_study.record.spec_path), tmp_path / "again")
    again.run(until="explore")

    def scores(record: Record) -> list[Any]:
        return [(row.params, row.score) for row in read_trials(record, "explore")]

    assert scores(again.record) == scores(small_study.record)


def test_width_and_path_are_found_and_written_down(tmp_path: Path) -> None:
    spec = small_spec(execution={"width": "auto", "path": "auto", "lanes": "auto"}, search={"trials": 16, "epochs": 2})
    study = Study.from_spec(spec, tmp_path / "run")
    study.run(until="bounds")
    stored = Study.open(tmp_path / "run").spec
    assert stored.execution.path in ("stacked", "sequential")
    assert isinstance(stored.execution.width, int)
    assert stored.execution.width <= 4, "the search must be asked at least four times its concurrency"
    assert stored.provenance["probe"]["milliseconds_per_trial_step"]


def test_no_stage_before_the_ensemble_reads_the_test_split(tmp_path: Path) -> None:
    """Before anything is trained, its inputs are held against those of the validation split, for equal ones."""
    from lab.tasks.digits import Digits

    asked: list[tuple[str, bool]] = []

    class Watched(Digits):
        def data(self, split: Any) -> Any:
            asked.append((split, (tmp_path / "run/ledger.journal").exists()))
            return super().data(split)

    settings = {k: v for k, v in small().items() if k not in ("name", "task", "space", "search")}
    study = Study(Watched(), small()["space"], trials=6, epochs=2, folder=tmp_path / "run", **settings)
    study.run(engine="local", until="final")
    assert {split for split, begun in asked if begun} == {"train", "valid"}
    asked.clear()
    study.run(engine="local")
    assert ("test", True) in asked


def test_a_test_split_taken_from_validation_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    from lab.tasks.digits import Digits

    class Leaking(Digits):
        def data(self, split: Any) -> Any:
            x, y = super().data("valid" if split == "test" else split)
            return (x[:200], y[:200]) if split == "test" else (x, y)

    settings = {k: v for k, v in small().items() if k not in ("name", "task", "space", "search", "final")}
    space = small()["space"]
    final = small()["final"]
    study = Study(Leaking(), space, trials=4, epochs=2, folder=tmp_path / "run", final=final, **settings)
    with pytest.raises(TaskError, match=r"final\.refit: 200 of 200 test inputs lie in the validation split"):
        study.run(engine="local")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()  # an empty one is no more a study's than none
    with pytest.raises(TaskError):
        study.run(engine="local")
    assert not (tmp_path / "run").exists()
    honest = {**final, "refit": False, "controls": "none", "seeds": 1}
    Study(Leaking(), space, trials=4, epochs=2, folder=tmp_path / "run", final=honest, **settings).run(engine="local")


def test_unknown_stage_and_other_study_are_refused(small_study: Study) -> None:
    with pytest.raises(SpecError, match="choices: bounds, explore"):
        small_study.run(until="explode")
    with pytest.raises(RecordError, match="holds another study"):
        Study.from_spec(small_spec(seed=9), small_study.record.folder).run()


def test_a_folder_with_our_own_beginnings_alone_is_an_empty_one(tmp_path: Path) -> None:
    """As a kill leaves it before the spec is written; anything else in it is somebody's."""
    study = Study.from_spec(small_spec(search={"trials": 4, "epochs": 2}), tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.driver.lock").write_text("lab study, process 1 on elsewhere")
    (tmp_path / "run/.study.yaml.x7_2").write_text("name: sm")
    (tmp_path / "run/notes.txt").write_text("mine")
    with pytest.raises(RecordError, match="is not empty and holds no study"):
        study.run(until="bounds")
    (tmp_path / "run/notes.txt").unlink()
    study.run(until="bounds")
    assert Study.open(tmp_path / "run").result.artefact("bounds")


def test_artefacts_and_trials_that_went_missing_are_named(small_study: Study, tmp_path: Path) -> None:
    def copy(name: str) -> Study:
        shutil.copytree(small_study.record.folder, tmp_path / name)
        return Study.open(tmp_path / name)

    emptied = copy("emptied")
    emptied.record.artefact_path("confirm").write_text("{}")
    with pytest.raises(
        RecordError, match=r"confirm.json: lacks metric, direction, seeds, observed_best, candidates, chosen; restore"
    ):
        emptied.run(engine="local")

    removed = copy("removed")
    removed.record.journal_path.unlink()
    with pytest.raises(RecordError, match="holds 0 ended trials of stage 'bounds', which had "):
        _ = removed.result.trials
    with pytest.raises(RecordError, match="holds 0 ended trials of stage 'explore', which had 12"):
        read_trials(removed.record, "explore")

    cut = copy("cut")
    lines = cut.record.journal_path.read_bytes().splitlines(keepends=True)
    cut.record.journal_path.write_bytes(b"".join(lines[:-2]))
    with pytest.raises(RecordError, match=r"holds \d+ ended trials of stage 'refit', which had \d+; restore it"):
        _ = cut.result.trials

    weightless = copy("weightless")
    for name in ("final.json", "ensemble.json"):
        (weightless.record.folder / name).unlink()
    next(iter(weightless.record.final_folder.iterdir())).unlink()
    with pytest.raises(RecordError, match=r"weights of trial \d+ are missing; restore them from a copy"):
        weightless.run(engine="local")


def test_a_task_made_at_a_prompt_can_be_studied(tmp_path: Path) -> None:
    code = (
        "import lab\nfrom lab.tasks.digits import Digits\nclass Mine(Digits): pass\n"
        "study = lab.Study(Mine(), {'max_lr': {'low': 0.01, 'high': 0.1}}, trials=4, epochs=1, folder='run')\n"
        "print(study.run(engine='local', until='explore').artefact('explore')['trials'])\n"
    )
    done = forked.run(["-c", code], environment(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4"]


def test_a_device_that_is_not_there_is_refused_before_anything_is_trained_and_can_be_put_right(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    space = {"max_lr": {"low": 0.01, "high": 0.1}}
    wrong = small_spec(space=space, execution={"device": "cuda:99"})
    for study in (Study.from_spec(wrong, folder), Study.from_spec(wrong, folder)):
        with pytest.raises(SpecError, match=r"execution\.device: 'cuda:99' is asked for, .*; choose cpu or auto"):
            study.run(until="bounds")
    assert not Record(folder).begun
    Study.from_spec(small_spec(space=space, execution={"device": "cpu"}), folder).run(until="bounds")
    # It was begun where there is a GPU, and goes on where there is none.
    (folder / "ledger.journal").touch()
    stored = Study.open(folder).spec
    Record(folder).spec_path.write_text(
        dump_spec(Study.open(folder).spec.model_copy(update={"execution": wrong.execution}))
    )
    (folder / "bounds.json").unlink()
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda:99' is asked for"):
        Study.open(folder).run(until="bounds")
    Study.from_spec(small_spec(space=space, execution={"device": "cpu", "hang_s": 99}), folder).run(until="bounds")
    now = Study.open(folder).spec.execution
    assert (now.device, now.hang_s, now.lanes) == ("cpu", 99, stored.execution.lanes)


@pytest.mark.parametrize("form", [str, Path])
def test_a_path_is_a_text_or_a_path_alike(form: Any, tmp_path: Path) -> None:
    spec, folder = small_spec(search={"trials": 1, "epochs": 1}, space={"max_lr": {"low": 0.001, "high": 0.1}}), "study"
    study = Study.from_spec(spec, form(tmp_path / folder))
    study.run(until="explore")
    again = Study("digits", dict(spec.space), name="other", folder=form(tmp_path / folder))
    for one in (study, Study.open(form(tmp_path / folder)), again):
        assert one.record.folder == tmp_path / folder


@pytest.mark.parametrize("wrong", [3, b"runs/x"])
def test_what_is_no_path_is_refused_by_the_argument_s_name(wrong: Any, tmp_path: Path) -> None:
    spec = small_spec()
    for begin in (
        lambda: Study.from_spec(spec, wrong),
        lambda: Study.open(wrong),
        lambda: Study("digits", dict(spec.space), folder=wrong),
    ):
        with pytest.raises(SpecError, match=r"^folder: .* is not the path of a folder"):
            begin()
    with pytest.raises(SpecError, match=r"^warm_start: .* is not the path of a folder"):
        Study.from_spec(spec, tmp_path / "x").run(warm_start=wrong)


def test_files_are_read_by_a_text_or_a_path_alike(tmp_path: Path) -> None:
    words = ["good", "bad", "dull", "fine"]
    rows = [f"{words[i % 4]} film,{i % 2},u{i % 5},i{i % 7},{i % 3}" for i in range(60)]
    file = tmp_path / "all.csv"
    file.write_text("\n".join(["text,label,user,item,rating", *rows]))
    from lab.tasks.text.language_model import LanguageModel

    shades = np.arange(60 * 64, dtype=np.uint8).reshape(60, 8, 8)
    np.savez(tmp_path / "images.npz", x=shades, y=np.arange(60) % 2)
    images = lab.Images(tmp_path / "images.npz")
    images.data("train")
    assert torch.equal(images.read(str(tmp_path / "images.npz")).x, images.read(tmp_path / "images.npz").x)
    tasks = [
        lab.Table(file, target="rating"),
        lab.Text(file),
        lab.Ratings(file),
        LanguageModel(file),
    ]
    for task in tasks:
        task.data("train")
        assert torch.equal(task.read(str(file)).x, task.read(file).x), type(task).__name__


def test_arrays_are_read_by_a_text_or_a_path_alike(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", x=np.zeros((3, 64), dtype=np.float32))
    task = Digits()
    assert torch.equal(Task.read(task, str(tmp_path / "new.npz")).x, Task.read(task, tmp_path / "new.npz").x)  # type: ignore[arg-type]
