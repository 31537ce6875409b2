"""The Python face, and what the stages hand on to each other."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lab
from lab.errors import RecordError, SpecError
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.stages import STAGES
from lab.study.cost import trainings
from lab.study.study import Study, hyperparameter_doubts
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
    assert table.groupby("stage").size().to_dict() == planned
    assert not list(folder.glob(".*.tmp*"))


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


def test_the_final_stage_spends_the_same_on_every_way(small_study: Study) -> None:
    runs = small_study.result.artefact("final")["runs"]
    for seed in range(2):
        spent = {
            role: sum(r["epochs"] for r in runs if r["role"] == role and r["seed"] == seed)
            for role in ("one_cycle", "several", "short")
        }
        assert set(spent.values()) == {4}
    assert {len(r["snapshots"]) for r in runs if r["role"] == "several"} == {2}
    assert {len(r["snapshots"]) for r in runs if r["role"] != "several"} == {1}


def test_the_ensemble_predicts_what_it_was_scored_on(small_study: Study) -> None:
    from lab.tasks.digits import Digits

    x, y = Digits().data("test")
    probabilities = small_study.result.ensemble.predict(x)
    accuracy = float((probabilities.argmax(dim=1) == y).float().mean())
    assert accuracy == pytest.approx(small_study.result.artefact("ensemble")["chosen"]["test"]["accuracy"])


def test_results_are_objects_to_work_with(small_study: Study) -> None:
    response = small_study.result.response
    assert response.effects("dropout").plot().data
    with pytest.raises(KeyError, match="did you mean 'dropout'"):
        response.effects("dropuot")
    assert set(small_study.result.trials["stage"]) == {"bounds", "explore", "confirm", "final"}


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
    assert hyperparameter_doubts(read_spec(ROOT / "studies/custom_task.yaml")) == ()
    assert hyperparameter_doubts(spec) == (
        "space.dropuot: the task was not seen to read it; then it is searched to no effect",
    )
    assert hyperparameter_doubts(read_spec(ROOT / "studies/trial_function.yaml", slip)) == ()
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


def test_several_gpus_are_refused_for_what_trains_on_one(tmp_path: Path) -> None:
    space = {"max_lr": {"low": 0.1, "high": 1.0, "log": True}}
    study = Study(
        "digits", space, folder=tmp_path / "run", execution={"gpus_per_lane": 2, "path": "stacked", "width": 1}
    )
    with pytest.raises(SpecError, match=r"^execution\.gpus_per_lane: 2: a task's models train on one GPU"):
        study.run(engine="local")


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


def test_the_test_split_is_read_by_the_ensemble_stage_only(tmp_path: Path) -> None:
    from lab.tasks.digits import Digits

    asked: list[str] = []

    class Watched(Digits):
        def data(self, split: Any) -> Any:
            asked.append(split)
            return super().data(split)

    settings = {k: v for k, v in small().items() if k not in ("name", "task", "space", "search")}
    study = Study(Watched(), small()["space"], trials=6, epochs=2, folder=tmp_path / "run", **settings)
    study.run(engine="local", until="final")
    assert set(asked) == {"train", "valid"}
    study.run(engine="local")
    assert "test" in asked


def test_unknown_stage_and_other_study_are_refused(small_study: Study) -> None:
    with pytest.raises(SpecError, match="choices: bounds, explore"):
        small_study.run(until="explode")
    with pytest.raises(RecordError, match="holds another study"):
        Study.from_spec(small_spec(seed=9), small_study.record.folder).run()


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
    with pytest.raises(RecordError, match=r"holds \d+ ended trials of stage 'final', which had \d+; restore it"):
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
