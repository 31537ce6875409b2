"""The number of threads that share a step, where one process has the machine to itself."""

from __future__ import annotations

from dataclasses import replace

from lab.lanes.engine import Probe
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.packing import doubled, fastest, step_ms
from lab.lanes.speed.thresholds import GAIN
from lab.lanes.speed.timing import time_alone, time_rows
from lab.spec.plan import Job


def on_more_threads(job: Job, probed: Probe, widest: int, most: int) -> Probe:
    """A probe's finding, or what 2, 4, ... threads up to `most` make of it while each doubling is faster.

    Only the probe's path is timed again, from its number of rows on: more threads need more to share.
    """
    best, kept = probed, None
    for threads in doubled(2 * probed.threads, most) if probed.path != "function" else ():
        there = replace(job, training=replace(job.training, threads=threads))
        kept = kept or KeptTimes(job)
        if probed.path == "sequential":
            times = {("sequential", 1): time_alone(there, kept)}
        else:
            times = {("sequential", 1): probed.milliseconds["sequential", 1]}
            rows = doubled(best.stack, widest)
            time_rows(probed.path, there, rows, times, kept, min(best.milliseconds.values()))
        faster = fastest(times, widest, probed.groups, probed.refused, threads, probed.kept)
        if faster.path != probed.path or step_ms(best) < GAIN * step_ms(faster):
            break
        reason = f"{probed.reason}; {step_ms(probed) / step_ms(faster):.1f} times that on {threads} threads"
        best = replace(faster, reason=reason)
    return best
