"""How many threads share a step, where one process has the machine to itself."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from lab.assignment import Job
from lab.execution.engine import Probe
from lab.execution.packing import Packing, cost, doubled, fastest
from lab.execution.timing import time_alone, time_rows

_GAIN = 1.05
"""Threads that are no faster keep other work from their cores."""


def on_more_threads(job: Job, found: Probe, widest: int, most: int) -> Probe:
    """A probe's finding, or what 2, 4, ... threads up to `most` make of it while each doubling is faster.

    Only the path found is timed again, from its number of rows on: more threads need more to share.
    """
    best = found
    threads = 2 * job.training.threads
    while found.path != "function" and threads <= most:
        there = replace(job, training=replace(job.training, threads=threads))
        times = {("sequential", 1): found.milliseconds["sequential", 1]}
        if best.path == "sequential":
            times = {("sequential", 1): time_alone(there)}
        else:
            time_rows(best.path, there, doubled(best.stack, widest), times)
        faster = fastest(times, widest, found.groups, found.refused)
        gain = _cost(best) / _cost(faster)
        if faster.path != best.path or gain < _GAIN:
            break
        reason = f"{found.reason}; {_cost(found) / _cost(faster):.1f} times that on {threads} threads"
        best = replace(faster, threads=threads, reason=reason)
        threads *= 2
    return best


def _cost(probe: Probe) -> float:
    """Milliseconds per trial and step."""
    packing = Packing(probe.path, probe.width, probe.stack)
    return cost(probe.milliseconds, packing, prod(probe.groups.values()))
