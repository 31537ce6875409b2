"""Which engine a study's lanes get, and what of `auto` is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.errors import EngineError, SpecError
from lab.lanes.engine import Probe, Promise
from lab.lanes.local import LocalEngine
from lab.lanes.speed.choose import open_lanes
from lab.record.folder import Record
from lab.record.spec_file import read_spec
from lab.study.cost import steps_of
from lab.study.machines import with_flags
from lab.study.study import Study
from tests.small import small, small_spec

FUNCTION = """
import lab


@lab.trial_function(metric="score", direction="maximize")
def train(params, schedule):
    yield {"score": params["x"]}
"""


class Ray(LocalEngine):
    """Stands in for the engine on Ray: that is not started here."""

    name = "ray"

    def __init__(self, folder: Path, lanes: int | None, watch: Any, *rest: Any, **options: Any) -> None:
        super().__init__(lanes or 2, watch)

    warnings = ()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, Any]]:
    """Open the small study's lanes where a step of a trial takes `ms`, on a machine of so many cores, where several
    threads make it `shared` times as fast; with one slot it takes `narrow` times as long."""

    def go(
        ms: float,
        cores: int = 2,
        address: str | None = None,
        task: Any = None,
        shared: float = 1.0,
        threads: int = 1,
        narrow: float = 1.0,
        **execution: Any,
    ) -> tuple[str, Any]:
        times = {("sequential", 1): 4 * ms * narrow, ("stacked", 1): 2 * ms * narrow, ("stacked", 2): 1.5 * ms}
        monkeypatch.setattr("os.cpu_count", lambda: cores)
        monkeypatch.setattr(LocalEngine, "probe", lambda self, job, widest: Probe("stacked", 2, "timed", times, 2))
        monkeypatch.setattr(LocalEngine, "self_test", lambda self, job: Promise(0.0, 0.0))
        monkeypatch.setattr("lab.lanes.ray.engine.RayEngine", Ray)

        def on_more_threads(job: Any, probe: Probe, widest: int, most: int) -> Probe:
            assert most == cores
            faster = {timed: ms / shared for timed, ms in probe.milliseconds.items()}
            return replace(probe, milliseconds=faster, threads=most) if shared > 1 else probe

        monkeypatch.setattr("lab.lanes.speed.pace.on_more_threads", on_more_threads)
        changes: dict[str, Any] = {"execution": {"engine": "auto", "lanes": "auto", "width": "auto", "path": "auto"}}
        spec = small_spec(**changes, **({"task": task} if task else {}))
        spec = spec.model_copy(update={"execution": spec.execution.model_copy(update=execution)})
        lines: list[str] = []
        ahead = partial(steps_of, spec, ("bounds", "explore", "confirm", "final"))
        engine, settled = open_lanes(spec, Record(tmp_path / "s"), lambda p: True, lines.append, address, ahead)
        assert settled.execution.engine == engine.name
        assert settled.execution.lanes == engine.lanes
        assert settled.execution.threads == threads
        assert settled.provenance["numbers"] == Promise(0.0, 0.0).line
        return engine.name, lines

    return go


def test_a_short_study_is_not_worth_starting_ray(opened: Callable[..., tuple[str, Any]]):
    name, lines = opened(0.1)
    assert name == "local"
    assert lines[0].startswith("engine    local: about ")
    assert opened(100.0)[0] == "ray"


def test_lanes_that_refuse_the_study_are_closed(
    opened: Callable[..., tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    def refused(self: LocalEngine, job: Any) -> Promise:
        raise SpecError("training.precision", "no lane has it")

    monkeypatch.setattr(Ray, "self_test", refused)
    monkeypatch.setattr(Ray, "close", lambda self: closed.append(True))
    with pytest.raises(SpecError, match="no lane has it"):
        opened(100.0)
    assert closed


def test_a_device_that_is_not_here_is_refused_before_ray_starts(
    opened: Callable[..., tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.training.device.accelerator.accelerator", lambda: None)
    monkeypatch.setattr(Ray, "__init__", lambda *_, **__: pytest.fail("Ray is started"))
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda' is asked for, and PyTorch sees no GPU here"):
        opened(100.0, device="cuda", path="stacked", width=2)


def test_more_cores_and_long_training_are_worth_it(opened: Callable[..., tuple[str, Any]]):
    longest = max(ms for ms in range(1, 30) if opened(float(ms))[0] == "local")
    assert opened(0.9 * longest, cores=2)[0] == "local"
    assert opened(0.9 * longest, cores=16)[0] == "ray"
    assert opened(1.5 * longest, cores=1)[0] == "local"
    assert opened(100 * longest, cores=1)[0] == "ray", "a long study is kept apart from its driver"


def test_lanes_that_share_the_open_trials_are_narrower_and_may_gain_nothing(
    opened: Callable[..., tuple[str, Any]],
) -> None:
    longest = max(ms for ms in range(1, 30) if opened(float(ms))[0] == "local")
    assert opened(2.0 * longest)[0] == "ray"
    assert opened(2.0 * longest, narrow=2.0)[0] == "local"


def test_threads_that_share_a_step_take_the_place_of_lanes(opened: Callable[..., tuple[str, Any]]):
    longest = max(ms for ms in range(1, 30) if opened(float(ms))[0] == "local")
    assert opened(1.5 * longest)[0] == "ray"
    assert opened(1.5 * longest, shared=1.7, threads=2)[0] == "local"
    assert opened(8.0 * longest, shared=1.1)[0] == "ray"
    assert opened(100.0 * longest, shared=1.7)[0] == "ray", "two lanes are as fast, and survive what kills them"
    assert opened(1.5 * longest, shared=1.7, engine="local", threads=2)[0] == "local"
    assert opened(0.001, shared=1.7)[0] == "local", "too short to be worth the timing"


@pytest.mark.parametrize("asked", [{"path": "stacked", "width": "auto"}, {"path": "auto", "width": 2}])
def test_what_is_asked_for_is_kept_where_one_after_the_other_would_be_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Mapping[str, Any]
):
    times = {("sequential", 1): 10.0, ("stacked", 1): 12.0, ("stacked", 2): 12.0}
    monkeypatch.setattr(LocalEngine, "probe", lambda self, job, widest: Probe("sequential", 1, "timed", times))
    monkeypatch.setattr("lab.lanes.speed.threads.time_alone", lambda job, kept: 10.0 / job.training.threads)
    spec = small_spec(execution={"engine": "local", "lanes": "auto", **asked})
    _, settled = open_lanes(spec, Record(tmp_path / "s"), lambda p: True, lambda line: None, None, float)
    assert (settled.execution.path, settled.execution.threads) == ("stacked", 1)


def test_a_lane_on_ray_has_the_threads_it_has_cores_for(opened: Callable[..., tuple[str, Any]]):
    assert opened(100.0, cores=8, cpus_per_lane=4, threads=4)[0] == "ray"
    assert opened(100.0, cores=8, cpus_per_lane=0.5, threads=1)[0] == "ray"
    assert opened(100.0, engine="ray", cpus_per_lane=2, width=2, path="stacked", threads=2)[0] == "ray"


@pytest.mark.parametrize(
    "asked", [{"lanes": 2}, {"engine": "ray"}, {"address": "auto"}, {"width": 2, "path": "stacked"}]
)
def test_what_is_asked_for_is_given(opened: Callable[..., tuple[str, Any]], asked: Mapping[str, Any]):
    assert opened(0.1, **asked)[0] == "ray"


def test_local_is_local_however_long_it_takes(opened: Callable[..., tuple[str, Any]]):
    assert opened(1e6, engine="local")[0] == "local"


def test_gpus_that_are_not_there_are_refused_of_a_lane_in_this_process(opened: Callable[..., tuple[str, Any]]) -> None:
    with pytest.raises(SpecError, match=r"execution\.gpus_per_lane: 1 is above the 0 GPUs that PyTorch sees"):
        opened(0.1, engine="local", gpus_per_lane=1, device="cpu")


def test_the_time_of_a_function_is_not_known(opened: Callable[..., tuple[str, Any]], tmp_path: Path):
    (tmp_path / "f.py").write_text(FUNCTION)
    assert opened(0.1, task=f"{tmp_path}/f.py:train")[0] == "ray"


def test_a_small_study_runs_where_it_was_begun_and_anew_where_it_is_told(tmp_path: Path):
    execution = {"engine": "auto", "lanes": "auto", "width": "auto", "path": "auto"}
    study = Study.from_spec(small_spec(execution=execution), tmp_path / "s")
    study.run(until="bounds")
    settled = read_spec(study.record.spec_path).execution
    assert (settled.engine, settled.lanes) == ("local", 1)
    assert isinstance(settled.width, int)
    Study.open(tmp_path / "s").run(until="explore", engine="auto")
    assert read_spec(study.record.spec_path).execution.engine == "local"


@pytest.mark.parametrize("path", ["stacked", "vmap", "sequential"])
def test_a_path_that_is_asked_for_is_kept_when_its_width_is_found(tmp_path: Path, path: str):
    spec = small_spec(execution={"width": "auto", "path": path})
    study = Study.from_spec(spec, tmp_path / "s")
    study.run(until="bounds")
    settled = read_spec(study.record.spec_path)
    assert settled.execution.path == path
    timed = settled.provenance["probe"]["milliseconds_per_trial_step"]
    assert {name.split()[0] for name in timed} == {"sequential", path}


def test_the_default_is_auto():
    assert small_spec(execution=dict.fromkeys(("lanes", "width"), "auto")).execution.engine == "local"
    spec = small()
    del spec["execution"]
    assert Study(spec["task"], spec["space"]).spec.execution.engine == "auto"


def test_a_cluster_is_joined_by_a_study_that_was_begun_without_one(tmp_path: Path) -> None:
    study = Study.from_spec(small_spec(space={"max_lr": {"low": 0.01, "high": 0.1}}), tmp_path / "run")
    study.run(until="bounds")
    with pytest.raises(EngineError, match="neither auto, HOST:PORT nor ray"):
        Study.open(tmp_path / "run").run(address="no address")
    with pytest.raises(SpecError, match="trains in this process"):
        Study.open(tmp_path / "run").run(engine="local", address="head:6379")


def test_another_engine_has_its_own_lanes() -> None:
    settled = small_spec(execution={"engine": "local", "lanes": 1, "width": 8, "threads": 2})
    execution = with_flags(settled, "ray", None, 4).execution
    assert (execution.engine, execution.lanes, execution.width, execution.threads) == ("ray", "auto", 4, "auto")
    assert with_flags(settled, "local", None, None) == settled
