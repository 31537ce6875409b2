"""What a study that has begun may be told anew of the machines that it runs on."""

from __future__ import annotations

import pytest

from lab.errors import SpecError
from lab.study.machines import check_changes


def test_machines_may_be_changed_and_what_follows_from_lanes_may_not() -> None:
    check_changes(["task.path", "execution.device", "execution.gpus_per_lane", "search.trials"])
    with pytest.raises(SpecError, match=r"execution\.processes: was settled when the study began; .* is device, cpus"):
        check_changes(["task.path", "execution.processes"])
