"""What lanes have saved, by lane and by moved trial."""

import os
from pathlib import Path

import pytest

from lab.checkpoints import Checkpoints


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, "explore")


def test_a_lane_reads_what_it_wrote_last(kept: Checkpoints) -> None:
    assert kept.read(0) is None
    for state in (b"first", b"second"):
        kept.write(0, state)
    assert kept.read(0) == b"second"
    assert kept.read(1) is None


def test_stages_do_not_share(tmp_path: Path, kept: Checkpoints) -> None:
    kept.write(0, b"mine")
    assert Checkpoints(tmp_path, "final").read(0) is None


def test_a_moved_trial_keeps_what_its_lane_had_whatever_the_lane_writes_then(kept: Checkpoints) -> None:
    kept.write(0, b"before")
    kept.move(7, source=0)
    kept.write(0, b"after")
    assert kept.moved(7) == b"before"
    kept.forget(7)
    assert kept.moved(7) is None
    kept.forget(7)


def test_a_trial_that_moves_on_takes_the_newer_of_two(tmp_path: Path, kept: Checkpoints) -> None:
    """The lane that it leaves now may not have saved anything since it took the trial over."""
    kept.write(0, b"of lane 0")
    kept.write(1, b"of lane 1, older")
    for name, seconds in (("explore-1", 1), ("explore-0", 2)):
        os.utime(tmp_path / "lanes" / f"{name}.safetensors", (seconds, seconds))
    kept.move(7, source=0)
    kept.move(7, source=1)
    assert kept.moved(7) == b"of lane 0"
    kept.write(1, b"of lane 1, newer")
    os.utime(tmp_path / "lanes" / "explore-moved-7.safetensors", (3, 3))
    kept.move(7, source=1)
    assert kept.moved(7) == b"of lane 1, newer"


def test_without_a_checkpoint_a_moved_trial_begins_anew(kept: Checkpoints) -> None:
    kept.move(7, source=0)
    assert kept.moved(7) is None
