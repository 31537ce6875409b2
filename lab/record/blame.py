"""The search for the trial that kills its lane, among lanes that died without finishing an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

_SUSPECT_AFTER = 2
"""Deaths in a row, without a finished epoch between, after which a lane's trials are tried one by one."""


@dataclass(frozen=True)
class Verdict:
    """The consequence of a lane's death."""

    guilty: int | None = None
    """The trial that was alone in the lane when it died."""
    suspects: tuple[int, ...] = ()
    """Trials to be tried alone before the lane goes on."""
    too_wide: bool = False
    """Each trial survived alone, and together they killed the lane again."""
    deaths: int = 0


@dataclass
class _Case:
    deaths: int = 0
    trying: int | None = None
    acquitted: bool = False


@dataclass
class Blame:
    """The deaths of each lane since it last finished an epoch."""

    _cases: dict[int, _Case] = field(default_factory=dict)

    def died(self, lane: int, running: tuple[int, ...]) -> Verdict:
        """Judge the death of a lane in which the trials `running` were running."""
        if not running:
            return Verdict()
        case = self._cases.setdefault(lane, _Case())
        case.deaths += 1
        deaths = case.deaths
        if case.trying is not None:
            guilty = case.trying
            del self._cases[lane]
            return Verdict(guilty=guilty, deaths=deaths)
        if deaths < _SUSPECT_AFTER:
            return Verdict(deaths=deaths)
        if not case.acquitted:
            return Verdict(suspects=running, deaths=deaths)
        del self._cases[lane]
        return Verdict(too_wide=True, deaths=deaths)

    def trying(self, lane: int, trial: int | None) -> None:
        """Note that a suspect is alone in its lane. None: every suspect has survived."""
        case = self._cases.setdefault(lane, _Case())
        case.trying = trial
        case.acquitted = trial is None

    def progressed(self, lane: int) -> None:
        """Note that a lane has finished an epoch that it had not finished before."""
        self._cases.pop(lane, None)
