"""`lab schedule` and `lab lr-range`."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from lab.cli import main
from lab.schedules import KINDS, parse_schedule
from tests.small import ROOT, lab, small, write_yaml

NEEDED = {
    "ramp": (),
    "join": ("parts=[{kind: constant, max_lr: 1}, {kind: one_cycle, max_lr: 1}]",),
    "warmup": ("schedule={kind: constant, max_lr: 1}",),
    "scale": ("schedule={kind: constant, max_lr: 1}", "factor=2"),
}


def settings(kind: str) -> list[str]:
    return [word for value in NEEDED.get(kind, ("max_lr=1",)) for word in ("--set", value)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_tabled(kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: one of its own, for each of them, takes ten times as long."""
    monkeypatch.setattr("sys.argv", ["lab", "schedule", kind, *settings(kind), "--steps", "220", "--csv", "-"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    assert said.out.splitlines()[0] == "step,lr,momentum,weight_decay"
    assert len(pd.read_csv(io.StringIO(said.out))) == 220


def test_the_table_is_the_schedule() -> None:
    done = lab("schedule", "one_cycle", "--set", "max_lr=1", "--steps", "220", "--csv", "-")
    table = pd.read_csv(io.StringIO(done.stdout))
    expected = parse_schedule({"kind": "one_cycle", "max_lr": 1}).table(220)
    pd.testing.assert_frame_equal(table, expected, check_exact=False, rtol=1e-12)
    assert table.lr.iloc[0] == 1 / 25
    assert table.lr.iloc[-1] == 1e-5


def test_a_schedule_is_drawn_and_described(tmp_path: Path) -> None:
    done = lab("schedule", "sgdr", "--set", "max_lr=1", "--plot", tmp_path / "s.html", "--csv", tmp_path / "s.csv")
    assert done.returncode == 0, done.stderr
    assert "plotly" in (tmp_path / "s.html").read_text()
    assert (tmp_path / "s.csv").read_text().startswith("step,lr")
    assert "cycle ends at steps" in lab("schedule", "sgdr", "--set", "max_lr=1").stdout
    assert "one_cycle:" in lab("schedule", "list").stdout


BAD = {
    "lr": (["one_cycle", "--set", "max_lr=0"], "max_lr: 0.0 is not above 0"),
    "kind": (["onecycle", "--set", "max_lr=1"], "(did you mean 'one_cycle'?)"),
    "min above max": (["cyclical", "--set", "max_lr=1", "--set", "min_lr=2"], "min_lr"),
    "T_mul": (["sgdr", "--set", "max_lr=1", "--set", "T_mul=0"], "T_mul"),
    "cycles": (["snapshot", "--set", "max_lr=1", "--set", "cycles=200"], "200 cycles do not fit into 100 steps"),
    "phases": (["wsd", "--set", "max_lr=1", "--steps", "1"], "steps"),
    "steps": (["constant", "--set", "max_lr=1", "--steps", "0"], "0 is not at least 1"),
    "ramp": (["ramp", "--set", "start=1", "--set", "end=0.1"], "end: 0.1 is not above start 1"),
    "ending": (["constant", "--set", "max_lr=1", "--plot", "x.gif"], "ends neither in .html nor in .png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lab", "schedule", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_range_test_from_the_command_line(tmp_path: Path) -> None:
    spec = ROOT / "studies/digits.yaml"
    short = ("--set", "bounds.steps=60", "--set", "search.epochs=4")
    done = lab("lr-range", spec, "--seeds", "2", "--plot", tmp_path / "range.html", *short)
    assert done.returncode == 0, done.stderr
    assert "between runs: " in done.stdout
    assert "other rules   valley" in done.stdout
    assert (tmp_path / "range.html").stat().st_size > 1_000_000


@pytest.mark.slow
def test_a_range_test_as_png(tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    spec = write_yaml(tmp_path / "study.yaml", small())
    done = lab("lr-range", spec, "--seeds", "1", "--plot", tmp_path / "range.png")
    if done.returncode == 2 and "needs kaleido and Chromium" in done.stderr:
        pytest.skip("needs Debian's chromium")
    assert (tmp_path / "range.png").read_bytes().startswith(b"\x89PNG")
