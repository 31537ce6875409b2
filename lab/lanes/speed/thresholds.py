"""Every number that decides between engines, lanes, widths and threads, with its reason; what is measured is compared
with these and with nothing else."""

GAIN = 1.05
"""How much faster per trial a wider lane or more threads must be.

Width costs the search its freshness, and threads keep other work from their cores.
"""
SLOWER = 1.25
"""How much slower than the fastest a width may be before wider ones are not timed."""
WORTH_TIMING_S = 4.0
"""Seconds of training below which more threads are not tried."""
RAY_START_S = 10.0
"""Fixed overhead of starting and stopping Ray and its lanes, in seconds. It is 9 to 12 s on two cores."""
BESIDE = 0.85
"""Pace of a lane while every core has one, as a fraction of its pace alone.

It is .77 to .92 on two cores, and lowest where a model is bound by memory.
"""
LONG_S = 600.0
"""Seconds of training above which lanes always run apart from the driver, so that one that dies can restart."""
