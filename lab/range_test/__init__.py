"""The learning-rate range test: how its losses are smoothed, which rules read them, and what several runs agree on;
and what short trainings at and around the agreed rate decide.

Source of the test: Smith 2015 (arXiv 1506.01186), section 3.3; as fastai runs it: exponential, stopped at four times
the best smoothed loss.
"""

from lab.range_test.agreement import Agreement, agree
from lab.range_test.curve import smooth, stop_step
from lab.range_test.reading import Reading, Run, read
from lab.range_test.rules import RULES, minimum, slide, steep, valley
from lab.range_test.tried import HALF_DECADE, MOST_MORE, MULTIPLES, Decision, Tried, beyond, decide

__all__ = [
    "HALF_DECADE",
    "MOST_MORE",
    "MULTIPLES",
    "RULES",
    "Agreement",
    "Decision",
    "Reading",
    "Run",
    "Tried",
    "agree",
    "beyond",
    "decide",
    "minimum",
    "read",
    "slide",
    "smooth",
    "steep",
    "stop_step",
    "valley",
]
