"""Schedules: learning rate, momentum and weight decay as pure functions of (optimizer step, total steps).

Steps are integers, 0 <= step < total; values are float64. The first step has the schedule's starting value
and the last step its final value, exactly; asking outside the range is an error. With `total == 1` the single
step has the starting value.

    schedule = OneCycle(max_lr=0.1)
    schedule.curves(None, 500).lr        # every step's lr
    schedule.table(500)                  # a DataFrame
    schedule.plot(500).show()
    schedule.cycle_ends(500)             # where snapshots are taken
    schedule.to_torch(optimizer, 500)    # a torch.optim.lr_scheduler.LRScheduler
"""

from lab.schedules.base import Schedule
from lab.schedules.compose import Join, Scale, Warmup, join, scale, warmup
from lab.schedules.curve_source import Curves
from lab.schedules.curves import Floats, Ints
from lab.schedules.cyclical import FGE, Cyclical
from lab.schedules.decay import WSD, Constant, FlatCosine, Polynomial, Step
from lab.schedules.fine_tune import FineTune
from lab.schedules.groups import discriminative
from lab.schedules.one_cycle import OneCycle, SlantedTriangular
from lab.schedules.ramp import Ramp
from lab.schedules.registry import KINDS, parse_schedule, schedule_class
from lab.schedules.restarts import SGDR, Snapshot

__all__ = [
    "Schedule",
    "Curves",
    "OneCycle",
    "Snapshot",
    "SGDR",
    "Cyclical",
    "FGE",
    "FlatCosine",
    "WSD",
    "SlantedTriangular",
    "FineTune",
    "Polynomial",
    "Step",
    "Constant",
    "Ramp",
    "Join",
    "Warmup",
    "Scale",
    "join",
    "warmup",
    "scale",
    "discriminative",
    "KINDS",
    "parse_schedule",
    "schedule_class",
    "Floats",
    "Ints",
]
