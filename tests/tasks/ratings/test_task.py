"""The task `ratings`: it keeps the contract, takes strangers for the mean of all, and ranks what is not rated yet."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from lab.cli.main import main
from lab.errors import TaskError
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.checks import contract_suite
from lab.tasks.ratings import task as ratings_task
from lab.tasks.ratings.net import DotProduct, EmbeddingNet
from lab.tasks.ratings.task import Ratings
from lab.training.models import build_models
from tests.own_data import write_ratings
from tests.small import small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_ratings(tmp_path / "ratings.csv")


def _later(path: Path, **options: Any) -> Ratings:
    """The task as a later process has it, which no longer has the training rows."""
    fitted = json.loads(json.dumps(Ratings(str(path), **options).fitted()))
    task = Ratings("/no/longer/there.csv", **options)
    task.restore(fitted)
    return task


@pytest.mark.parametrize("model", ["dot", "net"])
@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_it_keeps_the_contract(model: str, metric: str, path: Path):
    task = Ratings(str(path), model=model, metric=metric)
    findings = list(contract_suite(task, {"dropout": 0.1, "factors": 4}))
    assert [f"{f.name}: {f.said}" for f in findings if not f.passed] == []
    assert (task.kind, task.metric, task.direction) == ("regression", metric, "minimize")
    assert pickle.loads(pickle.dumps(task)).options == task.options


@pytest.mark.parametrize(
    "net", [DotProduct(5, 6, 3, 0.0, 3.5, (0.5, 5.5)), EmbeddingNet(5, 6, 3, (7,), 0.0, (0.5, 5.5))]
)
def test_a_stranger_is_the_mean_of_all_and_ratings_stay_between_their_ends(net: Any):
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    net.eval()
    vectors = net.users(torch.arange(1, 6))
    torch.testing.assert_close(net.users(torch.tensor([0]))[0], vectors.mean(dim=0))
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(7))
    output = net(pairs)
    assert output.shape == (42, 1)
    assert ((output >= 0.5) & (output <= 5.5)).all()


def test_an_untrained_dot_product_says_the_mean(path: Path):
    task = Ratings(str(path))
    torch.manual_seed(0)
    output = task.model({"dropout": 0.0}).eval()(task.data("valid")[0])
    assert float(output.detach().mean()) == pytest.approx(task.fitted()["mean"], abs=0.1)


@pytest.mark.parametrize("model", ["dot", "net"])
def test_many_are_trained_as_one(model: str, path: Path):
    task = Ratings(str(path), model=model)
    x = task.data("train")[0][:8]
    net = task.model({})
    stacked = build_models("stacked", net, 3, x, torch.device("cpu"))
    assert stacked.takes(task.model({}))


def test_the_loss_is_in_standard_deviations_of_the_ratings(path: Path):
    task = Ratings(str(path))
    target = task.data("train")[1]
    mean = torch.full_like(target, task.fitted()["mean"])
    assert float(task.loss(mean, target).mean()) == pytest.approx(1.0, abs=1e-4)
    absolute = Ratings(str(path), metric="mae").loss(mean, target)
    torch.testing.assert_close(absolute, (mean - target).abs()[:, 0] / task.fitted()["std"])


def test_later_pairs_are_read_as_training_read_them(path: Path, tmp_path: Path):
    task, whole = _later(path), Ratings(str(path))
    part = whole._rated.part("test")
    inputs = task.read(write_ratings(tmp_path / "new.csv", part))
    assert torch.equal(inputs.x, whole.data("test")[0])
    assert inputs.y is not None
    assert torch.equal(inputs.y, whole.data("test")[1])
    assert inputs.beside["item"] == tuple(part["item"].astype(str))
    strange = task.read(
        write_ratings(tmp_path / "new.csv", pd.DataFrame({"user": ["u1", "me"], "item": ["01", "new"]}))
    )
    assert strange.x[1].tolist() == [0, 0]
    assert strange.y is None
    assert strange.notes == (
        "1 users are not in training and are taken for the mean of all: me",
        "1 items are not in training and are taken for the mean of all: new",
    )
    unscored = task.read(write_ratings(tmp_path / "new.csv", part.assign(rating="?")))
    assert unscored.y is None
    assert unscored.notes[0].endswith("column 'rating': row 1 is empty")


def test_users_alone_ask_for_what_they_have_not_rated(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task, whole = _later(path), Ratings(str(path))
    inputs = task.read(write_ratings(tmp_path / "users.csv", pd.DataFrame({"user": ["u3", "me", "u3"]})))
    rated = {tuple(pair) for pair in whole.data("train")[0].tolist()}
    code = whole.fitted()["users"].index("u3") + 1
    mine = [pair for pair in inputs.x.tolist() if pair[0] == code]
    assert len(mine) == 12 - sum(user == code for user, _ in rated)
    assert not {tuple(pair) for pair in mine} & rated
    assert inputs.ranked_within == "user"
    assert sorted({*inputs.beside["user"]}) == ["me", "u3"]
    monkeypatch.setattr(ratings_task, "_MOST_RANKED", 20)
    with pytest.raises(TaskError, match=r"users\.csv: 2 users times 12 items; take at most 1 at once$"):
        task.read(tmp_path / "users.csv")
    with pytest.raises(TaskError, match=r"other\.csv: has no column 'user'$"):
        task.read(write_ratings(tmp_path / "other.csv", pd.DataFrame({"who": ["u3"]})))


@pytest.mark.slow
def test_a_study_hands_out_ratings_and_recommendations(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    value = small(
        name="ratings",
        task={"kind": "ratings", "path": str(path), "factors": 4},
        space={"max_lr": {"low": 0.01, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.2}},
        batch_size=16,
        search={"trials": 2, "epochs": 2, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 3, "seeds": 1, "snapshots": 1},
    )
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run()
    path.unlink()
    capsys.readouterr()

    def said(rows: dict[str, Any], *more: str) -> tuple[int | str | None, str, str]:
        new = str(write_ratings(tmp_path / "new.csv", pd.DataFrame(rows)))
        monkeypatch.setattr("sys.argv", ["lab", "predict", str(tmp_path / "run"), "--input", new, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    _, out, err = said({"user": ["u1", "me"], "item": ["03", "03"]})
    pairs = pd.read_csv(io.StringIO(out), dtype={"item": str})
    assert pairs.columns.tolist() == ["user", "item", "rating"]
    assert pairs["user"].tolist() == ["u1", "me"]
    assert "1 users are not in training" in err
    _, out, _ = said({"user": ["u2", "u1"]}, "--top", "3")
    best = pd.read_csv(io.StringIO(out), dtype={"item": str})
    assert best["user"].tolist() == ["u1"] * 3 + ["u2"] * 3
    assert all(of_user["rating"].is_monotonic_decreasing for _, of_user in best.groupby("user"))
    code, _, err = said({"user": ["u1"], "item": ["03"]}, "--top", "3")
    assert code == 2
    assert "--top: nothing is ranked in" in err
