"""Lanes in this process, taking turns: no cluster, and every step in a known order."""

from __future__ import annotations

import time

from lab.errors import EngineError, Interrupted, StudyError
from lab.lanes.engine import Probe, Promise, Watch
from lab.lanes.lane import Lane
from lab.lanes.live_status import LiveStatus
from lab.lanes.self_test import self_test
from lab.lanes.speed.probe import probe
from lab.record.ledger import Ledger
from lab.spec.exchange import Progress
from lab.spec.plan import Job
from lab.training.device import DeviceLost

_WATCH_EVERY_S = 0.2


class LocalEngine:
    """Runs a job's lanes round-robin in the calling process."""

    name = "local"

    def __init__(self, lanes: int, watch: Watch) -> None:
        self.lanes = lanes
        self._watch = watch
        self._live_status = LiveStatus()

    def probe(self, job: Job, widest: int) -> Probe:
        return probe(job, widest)

    def self_test(self, job: Job) -> Promise:
        return self_test(job)

    def run(self, job: Job) -> Progress:
        ledger = Ledger(job)
        try:
            lanes = [Lane(number, job, ledger) for number in range(job.lanes)]
            watched = 0.0
            while lanes:
                lanes = [lane for lane in lanes if lane.tick()]
                if time.monotonic() - watched > _WATCH_EVERY_S:
                    watched = time.monotonic()
                    progress = ledger.progress()
                    self._live_status.write(job.folder, progress, ())
                    if not self._watch(progress):
                        for lane in lanes:
                            lane.save()
                        raise Interrupted("stopped; all finished epochs are saved")
            progress = ledger.progress()
        except DeviceLost as error:
            raise EngineError(
                f"nothing can be trained any longer in this process: {error}; the study can be resumed, and with "
                "--engine ray, where each lane has a process of its own, a trial that causes it is found"
            ) from error
        finally:
            ledger.release()
        self._watch(progress)
        if progress.abort:
            raise StudyError(f"{job.stage}: {progress.abort}")
        return progress

    def close(self) -> None:
        """Do nothing: the engine holds nothing."""
