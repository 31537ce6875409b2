"""The task `table`: it keeps the contract, and reads later rows as it read those it was trained on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.errors import TaskError
from lab.schedules import Snapshot
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.checks import contract_suite
from lab.tasks.table import table_data
from lab.tasks.table.encoding import categories_of
from lab.tasks.table.task import Table
from lab.training.interface import EpochResult
from lab.training.snapshots import load_weights
from lab.training.trainer import ModelTrainer
from tests.own_data import table, write_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.parquet", table())


def _later(path: Path, target: Any = "answer", **options: Any) -> Table:
    """The task as a later process has it, which no longer has the training rows."""
    fitted = json.loads(json.dumps(Table(str(path), target, **options).fitted()))
    task = Table("/no/longer/there.csv", target, **options)
    task.restore(fitted)
    return task


@pytest.mark.parametrize(
    ("target", "kind", "metric", "direction"),
    [
        ("answer", "classification", "accuracy", "maximize"),
        ("number", "regression", "rmse", "minimize"),
        (["number", "other"], "regression", "rmse", "minimize"),
        (["a", "b"], "multilabel", "micro_f1", "maximize"),
    ],
)
def test_it_keeps_the_contract_whatever_the_target_is(
    target: Any, kind: str, metric: str, direction: str, tmp_path: Path
):
    random = np.random.default_rng(3)
    frame = table(120).assign(other=random.normal(size=120), a=random.integers(0, 2, 120), b=[0, 1] * 60)
    frame.loc[::9, ["number"] if kind != "regression" else ["letter"]] = None
    task = Table(str(write_table(tmp_path / "t.parquet", frame)), target)
    findings = list(contract_suite(task, {"dropout": 0.1, "embedding_dropout": 0.1}))
    assert [f"{f.name}: {f.said}" for f in findings if not f.passed] == []
    assert (task.kind, task.metric, task.direction) == (kind, metric, direction)


def test_regression_is_learned_in_standard_deviations_and_bounded(path: Path):
    task = Table(str(path), "number")
    _, y = task.data("train")
    std = y.std(correction=0)
    output = y + std * torch.linspace(-2, 2, len(y))[:, None]
    torch.testing.assert_close(task.loss(output, y), torch.linspace(-2, 2, len(y)) ** 2, rtol=1e-4, atol=1e-5)
    x = task.data("test")[0].clone()
    x[:, len(categories_of(task._data.fitted.columns)) :] *= 1000
    with torch.no_grad():
        predicted = task.model({}).eval()(x)
    span = float(y.max() - y.min())
    assert float(y.min()) - 0.11 * span <= float(predicted.min())
    assert float(predicted.max()) <= float(y.max()) + 0.11 * span


def test_rows_of_the_table_are_read_as_they_were_encoded(path: Path):
    trained = Table(str(path), "answer", ignore=["day"])
    inputs = _later(path, ignore=["day"]).read(path)
    assert inputs.notes == ()
    for split in ("train", "valid", "test"):
        rows = torch.from_numpy(trained._data.rows[split])
        assert torch.equal(inputs.x[rows], trained.data(split)[0])
        assert inputs.y is not None
        assert torch.equal(inputs.y[rows], trained.data(split)[1])


def test_a_csv_gives_the_same_inputs_as_the_parquet(path: Path, tmp_path: Path):
    frame = table().assign(flag=[True, False] * 30, whole=[1, 2, 3] * 20, gap=[None, 1.0, 2.0] * 20)
    path = write_table(path, frame)
    task = _later(path)
    expected = task.read(path).x
    assert torch.equal(task.read(write_table(tmp_path / "t.csv", frame)).x, expected)
    frame = frame.astype({"flag": object, "whole": object})  # as columns with gaps are
    frame.loc[0, ["flag", "whole"]] = None
    with_gaps = task.read(write_table(tmp_path / "u.csv", frame)).x
    assert torch.equal(with_gaps[1:], expected[1:])


def test_a_csv_holds_the_levels_of_the_parquet_that_was_learned_from(path: Path, tmp_path: Path):
    """`NA` is a country there, and a missing number where numbers are."""
    frame = table().assign(country=["NA", "US", "DE"] * 20, answer=["NA", "EU"] * 30)
    task = _later(write_table(path, frame))
    expected = task.read(path)
    later = frame.astype({"number": object})
    later.loc[0, "number"] = "NA"
    inputs = task.read(write_table(tmp_path / "t.csv", later))
    assert inputs.y is not None
    assert expected.y is not None
    assert torch.equal(inputs.x[1:], expected.x[1:])
    assert torch.equal(inputs.y, expected.y)
    assert inputs.notes == expected.notes


def _odd(rows: int = 120) -> pd.DataFrame:
    """Columns whose later cells pandas would read by what else the file holds."""
    random = np.random.default_rng(5)
    return table(rows).assign(
        code=random.choice(["001", "010", "A01"], rows),
        flag=random.choice(["True", "False", "unknown"], rows),
        sure=random.choice(["True", "False"], rows),
        whole=random.choice(["1", "2", "x"], rows),
        grade=random.integers(1, 5, rows),
        half=random.choice([0.5, 1.5], rows),
        gap=np.where(random.random(rows) < 0.2, np.nan, random.integers(0, 500, rows)),
        big=2**60 + random.integers(0, 3, rows),
        answer=random.choice(["1", "2", "none"], rows),
    )


@pytest.mark.parametrize("trained", ["csv", "parquet"])
@pytest.mark.parametrize("later", ["csv", "parquet"])
def test_a_row_is_read_alike_whatever_rows_stand_beside_it(trained: str, later: str, tmp_path: Path):
    frame = _odd()
    task = _later(write_table(tmp_path / f"t.{trained}", frame))
    whole = task.read(write_table(tmp_path / f"whole.{later}", frame))
    assert whole.y is not None
    assert whole.notes == ()
    digits = frame["code"].str.isdigit() & (frame["flag"] != "unknown") & (frame["whole"] != "x")
    digits &= (frame["answer"] != "none") & frame["gap"].notna()
    some = task.read(write_table(tmp_path / f"some.{later}", frame[digits]))
    assert some.y is not None
    assert 5 < len(some.x) < 60
    rows = torch.tensor(digits.tolist())
    assert torch.equal(some.x, whole.x[rows])
    assert torch.equal(some.y, whole.y[rows])
    assert some.notes == ()
    for i in np.flatnonzero(digits)[:5]:
        alone = task.read(write_table(tmp_path / f"alone.{later}", frame.iloc[[i]]))
        assert torch.equal(alone.x[0], whole.x[i])


def test_later_rows_are_read_in_the_dialect_of_the_spec(tmp_path: Path):
    frame = table().assign(letter=["ä", "ö", "ß"] * 20, number=lambda f: f["number"].round(3))
    (tmp_path / "plain").mkdir()
    expected = _later(write_table(tmp_path / "plain" / "t.csv", frame)).read(tmp_path / "plain" / "t.csv")
    frame.to_csv(tmp_path / "t.csv", sep=";", decimal=",", encoding="cp1252", index=False)
    task = _later(tmp_path / "t.csv", separator=";", encoding="cp1252")
    inputs = task.read(tmp_path / "t.csv")
    assert inputs.y is not None
    assert expected.y is not None
    assert torch.equal(inputs.x, expected.x)
    assert torch.equal(inputs.y, expected.y)
    assert pickle.loads(pickle.dumps(task)).options == task.options


def test_codes_whose_zeros_another_program_has_taken_are_read_and_told(tmp_path: Path):
    frame = _odd()
    task = _later(write_table(tmp_path / "t.csv", frame))
    rows = frame["code"].str.isdigit()
    lost = frame[rows].assign(code=lambda f: f["code"].astype(int))
    for later in ("csv", "parquet"):
        inputs = task.read(write_table(tmp_path / f"lost.{later}", lost))
        assert torch.equal(inputs.x, task.read(tmp_path / "t.csv").x[torch.tensor(rows.tolist())])
        assert inputs.notes == (
            f"column 'code': {len(lost)} rows hold numbers with other leading zeros than in training (such as '1' for "
            "'001'); they are taken for the same",
        )


def test_whole_numbers_of_a_parquet_beside_a_gap_keep_their_last_digit(tmp_path: Path):
    frame = _odd()
    task = _later(write_table(tmp_path / "t.parquet", frame))
    later = frame.assign(big=frame["big"].astype("Int64").where(np.arange(len(frame)) != 7))
    inputs = task.read(write_table(tmp_path / "later.parquet", later))
    expected = task.read(tmp_path / "t.parquet").x
    rows = torch.arange(len(frame)) != 7
    assert torch.equal(inputs.x[rows], expected[rows])


@pytest.mark.parametrize(
    ("written", "spelled", "expected"),
    [
        (["True", "False"], ["TRUE", "false"], ("False", "True")),
        (["TRUE", "FALSE"], [True, False], ("FALSE", "TRUE")),
        (["1.0", "2.0"], [1, 2], ("1.0", "2.0")),
        (["1", "2"], ["1.0", "2.00"], ("1", "2")),
        (["01", "02"], [1, 2], ("01", "02")),
        (["0.50", "1.50"], [0.5, 1.5], ("0.50", "1.50")),
    ],
)
def test_classes_are_called_as_they_were_written_and_scored_however_they_are(
    written: list[str], spelled: list[Any], expected: tuple[str, ...], tmp_path: Path
):
    frame = table().assign(answer=written * 30)
    task = _later(write_table(tmp_path / "t.csv", frame), target_type="category")
    assert task.class_names == expected
    for later in ("csv", "parquet"):
        inputs = task.read(write_table(tmp_path / f"u.{later}", frame.assign(answer=spelled * 30)))
        assert inputs.y is not None
        assert inputs.y.tolist() == [expected.index(written[0]), expected.index(written[1])] * 30


def test_labels_may_be_written_as_numbers_or_as_truths(tmp_path: Path):
    frame = table().assign(a=["True", "False"] * 30, b=["1", "0", "1"] * 20)
    task = _later(write_table(tmp_path / "t.csv", frame), ["a", "b"])
    assert task.kind == "multilabel"
    inputs = task.read(write_table(tmp_path / "u.parquet", frame.assign(a=[True, False] * 30, b=[1.0, 0.0, 1.0] * 20)))
    assert inputs.y is not None
    assert inputs.y.tolist() == [[1, 1], [0, 0], [1, 1], [0, 1], [1, 0], [0, 1]] * 10


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d"])
@pytest.mark.parametrize("kind", ["datetime", "date"])
def test_dates_of_a_parquet_are_read_where_text_was_learned_from(form: str, kind: str, tmp_path: Path):
    days = pd.Series(pd.date_range("2024-01-01", periods=60, freq="29h"))
    task = _later(write_table(tmp_path / "t.csv", table().assign(day=days.dt.strftime(form))))
    later = table().assign(day=days if kind == "datetime" else days.dt.date)
    inputs = task.read(write_table(tmp_path / "u.parquet", later))
    assert torch.equal(inputs.x, task.read(tmp_path / "t.csv").x)
    assert inputs.notes == ()


def test_what_a_later_file_holds_of_another_type_is_named_with_the_file(path: Path, tmp_path: Path):
    later = table().astype({"number": object})
    later.loc[4, "number"] = "many"
    with pytest.raises(TaskError, match=r"new\.csv: column 'number': row 5 holds 'many', which is no number"):
        _later(path).read(write_table(tmp_path / "new.csv", later))


def test_unseen_categories_and_missing_columns_are_told(path: Path, tmp_path: Path):
    later = table(5, seed=1).drop(columns=["number", "answer"]).assign(letter=["x", "q", None, "q", "y"])
    inputs = _later(path).read(write_table(tmp_path / "new.csv", later))
    assert inputs.y is None
    assert torch.isfinite(inputs.x).all()
    assert inputs.notes == (
        "column 'number' is not in the table; it is treated as missing in every row",
        "column 'letter': 2 rows hold values not seen in training (such as 'q'); they are treated as unknown",
    )


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([None] * 5, "is not scored: target 'answer': row 1 has none (5 rows in all); leave such rows out"),
        (
            ["yes", "no", "perhaps", "no", "no"],
            "is not scored: target 'answer': class 'perhaps' is not in the training",
        ),
    ],
)
def test_rows_whose_target_is_no_target_are_predicted_and_not_scored(
    answers: list[Any], reason: str, path: Path, tmp_path: Path
):
    inputs = _later(path).read(write_table(tmp_path / "new.csv", table(5, seed=1).assign(answer=answers)))
    assert (len(inputs.x), inputs.y) == (5, None)
    (note,) = inputs.notes
    assert note.startswith(reason)


def test_a_table_of_something_else_is_refused(path: Path, tmp_path: Path):
    other = write_table(tmp_path / "other.csv", pd.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(
        TaskError, match=r"other\.csv: has none of the 3 columns that were learned from; it lacks day, let"
    ):
        _later(path).read(other)
    shared = write_table(tmp_path / "shared.csv", pd.DataFrame({"number": [1.0], "b": [2]}))
    with pytest.raises(TaskError, match=r"has 1 of the 3 columns that were learned from; it lacks day, letter$"):
        _later(path).read(shared)
    text = write_table(tmp_path / "text.csv", table(3, seed=1).assign(number=["1.5", "2", "much"]))
    with pytest.raises(TaskError, match="column 'number': row 3 holds 'much', which is no number"):
        _later(path).read(text)


def test_it_travels_as_its_options(path: Path):
    task = Table(str(path), "answer", ignore=["day"], layers=[16])
    content = pickle.dumps(task)
    assert len(content) < 2000
    again = pickle.loads(content)
    assert again.options == task.options
    assert all(torch.equal(a, b) for a, b in zip(task.data("test"), again.data("test"), strict=True))


def test_handed_what_another_process_read_it_trains_without_the_file(path: Path):
    driver = Table(str(path), "answer", layers=[16])
    splits = {split: driver.data(split) for split in ("train", "valid")}
    lane = Table(str(path.parent / "not on this machine.csv"), "answer", layers=[16])
    lane.restore(driver.fitted())
    lane.take(splits)
    assert lane.takes
    assert lane.data("valid") is splits["valid"]
    x, y = lane.data("train")
    with torch.no_grad():
        loss = lane.loss(lane.model({"dropout": 0.1})(lane.model_input(x)), y)
    assert loss.shape == (len(y),)
    assert (lane.kind, lane.metric, lane.direction) == (driver.kind, driver.metric, driver.direction)


def test_the_hyperparameters_are_the_nets(path: Path):
    net = Table(str(path), "answer", layers=[16]).model({"dropout": 0.3, "embedding_dropout": 0.2})
    rates = [module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.2, 0.3]


def _bins(net: torch.nn.Module, x: torch.Tensor) -> bool:
    """Whether the last input, a bin of the only number, changes what a net gives."""
    other = x.clone()
    other[:, -1] += 1.0
    with torch.no_grad():
        return not torch.equal(net.eval()(x), net.eval()(other))


def test_a_trial_uses_the_bins_or_not(path: Path):
    task = Table(str(path), "answer", ignore=["day"])
    x = task.data("train")[0]
    assert x.shape[1] == 1 + 1 + 16
    assert [_bins(task.model(params), x) for params in ({}, {"bins": 16}, {"bins": 0})] == [True, True, False]
    # As earlier versions had it, whose weights lie in study folders, where no trial says it.
    assert "mask" not in task.model({}).state_dict()
    with pytest.raises(TaskError, match=r"bins: 8 is neither 0 nor those of task\.bins: 16"):
        task.model({"bins": 8})


@pytest.mark.parametrize("bins", [0, 4])
def test_bins_that_the_spec_says_are_those_of_every_trial(path: Path, bins: int):
    task = Table(str(path), "answer", ignore=["day"], bins=bins)
    assert task.undecided == {}
    assert task.data("train")[0].shape[1] == 1 + 1 + bins
    assert "mask" not in task.model({}).state_dict()


def test_where_no_number_has_bins_there_is_nothing_to_leave_out(path: Path):
    task = Table(str(path), "answer", ignore=["day", "number"])
    assert "mask" not in task.model({"bins": 0}).state_dict()


def _trained(task: Table, trained_path: str, bins: dict[int, int]) -> dict[int, EpochResult]:
    """By slot: the end of a trial of two epochs, all trained beside each other; slots are what seeds follow from."""
    trainer = ModelTrainer(task, Training({"kind": "adamw"}, 8, trained_path), 3, {"bins": 16})
    for slot, value in bins.items():
        trial = Trial({"bins": value, "dropout": 0.2}, slot, 2, own_schedule=Snapshot(max_lr=0.05, cycles=1), keep=True)
        trainer.start(Assignment(slot, trial, slot, 0))
    trainer.epoch()
    return {result.slot: result for result in trainer.epoch()}


@pytest.mark.parametrize("trained_path", ["stacked", "vmap", "sequential"])
def test_trials_with_bins_and_without_train_as_one_and_as_each_alone(path: Path, trained_path: str, tmp_path: Path):
    task = Table(str(path), "answer", ignore=["day"], layers=[8])
    together = _trained(task, trained_path, {0: 0, 1: 16, 2: 0})
    for slot, bins in ((0, 0), (1, 16), (2, 0)):
        (alone,) = _trained(task, trained_path, {slot: bins}).values()
        assert (alone.metrics, alone.files) == (together[slot].metrics, together[slot].files)
        (content,) = alone.files.values()
        saved = tmp_path / "snapshot.safetensors"
        saved.write_bytes(content)
        net = task.model({"bins": bins, "dropout": 0.2})
        load_weights(net, saved)
        assert _bins(net, task.data("valid")[0]) is (bins > 0)
        with torch.no_grad():
            score = task.metrics["accuracy"](net.eval()(task.data("valid")[0]), task.data("valid")[1])
        assert float(score) == pytest.approx(alone.metrics["accuracy"])


def test_an_example_is_shown_as_its_row(path: Path):
    task = Table(str(path), "answer", ignore=["letter"])
    row = table().iloc[task._data.rows["test"][2]]
    cells = {"number": str(row["number"]), "day": row["day"], "answer": row["answer"]}
    assert task.show("test", 2) == {"row of the file": str(task._data.rows["test"][2] + 1), **cells}


@pytest.fixture
def compact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables count as large."""
    monkeypatch.setattr(table_data, "_COMPACT_BYTES", 0)


def test_a_small_table_is_given_as_the_net_takes_it(path: Path):
    task = Table(str(path), "answer")
    x = task.data("train")[0]
    assert task.model_input(x) is x
    assert "compact" not in task.fitted()


@pytest.mark.usefixtures("compact")
def test_a_large_table_is_given_compact_and_trains_the_same_net(path: Path, monkeypatch: pytest.MonkeyPatch):
    task = Table(str(path), "answer")
    findings = list(contract_suite(task, {"dropout": 0.1, "bins": 0}))
    assert [f"{f.name}: {f.said}" for f in findings if not f.passed] == []
    monkeypatch.undo()
    small = Table(str(path), "answer")
    (x, y), (wide, same) = task.data("train"), small.data("train")
    assert x.shape[1] < wide.shape[1]
    assert torch.equal(y, same)
    torch.testing.assert_close(task.model_input(x), wide, atol=2e-6, rtol=0)
    np.testing.assert_array_equal(task.features(x), small.features(wide))


@pytest.mark.usefixtures("compact")
def test_later_rows_are_given_as_those_trained_on_were(path: Path, monkeypatch: pytest.MonkeyPatch):
    task, x = _later(path), Table(str(path), "answer").data("valid")[0]
    rows = write_table(path.parent / "later.parquet", Table(str(path), "answer").rows_of("valid"))
    monkeypatch.undo()
    assert torch.equal(task.read(rows).x, x)
    earlier = Table(str(path), "answer").fitted()
    monkeypatch.setattr(table_data, "_COMPACT_BYTES", 0)
    task = Table(str(path), "answer")
    task.restore(earlier)  # of a study that was begun before there were compact inputs
    assert task.describe().train_examples == len(task.data("train")[0])
    assert task.model_input(task.data("train")[0]) is task.data("train")[0]


def test_a_described_table_is_let_go_of_and_read_again_where_its_rows_are_shown(path: Path):
    task = Table(str(path), "answer")
    before = task.show("test", 2)
    task.describe()
    assert "main" not in vars(task._data)
    assert len(task.data("test")[0]) > 0
    assert "main" not in vars(task._data)
    assert task.show("test", 2) == before
