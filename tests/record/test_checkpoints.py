"""What lanes have saved, by lane and by moved trial."""

import os
from pathlib import Path

import pytest

from lab.record.checkpoints import Checkpoints


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, "explore")


def test_a_lane_reads_what_it_wrote_last(saved: Checkpoints) -> None:
    assert saved.read(0) is None
    for state in (b"first", b"second"):
        saved.write(0, state)
    assert saved.read(0) == b"second"
    assert saved.read(1) is None


def test_stages_do_not_share(tmp_path: Path, saved: Checkpoints) -> None:
    saved.write(0, b"mine")
    assert Checkpoints(tmp_path, "final").read(0) is None


def test_a_moved_trial_keeps_what_its_lane_had_whatever_the_lane_writes_then(saved: Checkpoints) -> None:
    saved.write(0, b"before")
    saved.keep(7, source=0)
    saved.write(0, b"after")
    assert saved.kept(7) == b"before"
    saved.forget(7)
    assert saved.kept(7) is None
    saved.forget(7)


def test_a_trial_that_moves_on_takes_only_what_its_lane_saved_since_it_came(tmp_path: Path, saved: Checkpoints) -> None:
    saved.write(0, b"of lane 0")
    saved.write(1, b"of lane 1, before")
    for name, seconds in (("explore-0", 1), ("explore-1", 2)):
        os.utime(tmp_path / "lanes" / f"{name}.safetensors", (seconds, seconds))
    saved.keep(7, source=0)
    saved.keep(7, source=1)
    assert saved.kept(7) == b"of lane 0"
    saved.write(1, b"of lane 1, since")
    os.utime(tmp_path / "lanes" / "explore-moved-7.safetensors", (3, 3))
    saved.keep(7, source=1)
    assert saved.kept(7) == b"of lane 1, since"


def test_without_a_checkpoint_a_moved_trial_begins_anew(saved: Checkpoints) -> None:
    saved.keep(7, source=0)
    assert saved.kept(7) is None


def test_a_stage_that_begins_anew_finds_nothing_of_the_one_before(tmp_path: Path, saved: Checkpoints) -> None:
    other = Checkpoints(tmp_path, "confirm")
    for each in (saved, other):
        each.write(0, b"state")
        each.keep(3, 0)
    saved.clear()
    assert (saved.read(0), saved.kept(3)) == (None, None)
    assert (other.read(0), other.kept(3)) == (b"state", b"state")
