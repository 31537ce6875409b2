"""How many threads share a step, where one process has the machine to itself."""

from __future__ import annotations

from dataclasses import replace

from lab.lanes.engine import Probe
from lab.lanes.speed.packing import doubled, fastest, step_ms
from lab.lanes.speed.timing import time_alone, time_rows
from lab.spec.plan import Job

_GAIN = 1.05
"""Threads that are no faster keep other work from their cores."""


def on_more_threads(job: Job, found: Probe, widest: int, most: int) -> Probe:
    """A probe's finding, or what 2, 4, ... threads up to `most` make of it while each doubling is faster.

    Only the path found is timed again, from its number of rows on: more threads need more to share.
    """
    best = found
    for threads in doubled(2 * found.threads, most) if found.path != "function" else ():
        there = replace(job, training=replace(job.training, threads=threads))
        if found.path == "sequential":
            times = {("sequential", 1): time_alone(there)}
        else:
            times = {("sequential", 1): found.milliseconds["sequential", 1]}
            time_rows(found.path, there, doubled(best.stack, widest), times)
        faster = fastest(times, widest, found.groups, found.refused, threads)
        if faster.path != found.path or step_ms(best) < _GAIN * step_ms(faster):
            break
        reason = f"{found.reason}; {step_ms(found) / step_ms(faster):.1f} times that on {threads} threads"
        best = replace(faster, reason=reason)
    return best
