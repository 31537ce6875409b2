"""The coordinator: holds the ledger of the stage at hand and says to lanes what to do. On Ray it runs as an actor.

Who may speak for a lane: the process that came last for it. A process cut off for a while, whose lane was placed anew
elsewhere, learns that it has been replaced, and its reports are ignored. All times are of the monotonic clock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast, get_args

from lab.errors import LabError
from lab.lanes.engine import Probe, Promise
from lab.spec.exchange import Progress
from lab.spec.plan import Job

if TYPE_CHECKING:
    from lab.record.ledger import Ledger

P = ParamSpec("P")
R = TypeVar("R")

Question: TypeAlias = Literal["probe", "self_test"]
"""A question that the first lane to come answers for the driver."""
Kind: TypeAlias = Literal["wait", "run", "leave"] | Question

Finding: TypeAlias = Probe | Promise | LabError

CALLS_AT_ONCE = 32
"""Calls of lanes that wait for one write of the disk together, at most."""
SILENT_S = 8.0
"""Seconds of silence after which a lane is lost: others may take over its trials."""
_PLACED_S = 20.0
"""Seconds after which a lane that has trials of an earlier run, and no process, is lost too."""
_BARREN = 10
"""Processes that a lane may use up without finishing anything before the engine gives up."""
_HANG_FACTOR = 20.0


class Standing(StrEnum):
    """The standing of a lane's process with the coordinator."""

    HEARD = "heard"
    OVER = "over"
    """The stage it works on is over: it asks for its next order."""
    REPLACED = "replaced"
    """Another process has its lane: it ends."""


Method: TypeAlias = Literal["attach", "next", "report", "checkpoint", "trying", "shrink", "leave"]


@dataclass(frozen=True)
class Answer:
    """The answer to a lane's call to the ledger."""

    standing: Standing
    value: Any = None
    stopping: bool = False
    """Whether the lane shall end its epoch, save and stop."""


@dataclass
class LaneState:
    """The coordinator's knowledge of one lane's process."""

    token: str
    location: Mapping[str, Any]
    """Node and process, for people. The engine can end the process by its `handle`."""
    heard_at: float
    worked_at: float
    died: str = ""
    """The death of the process before it, where a trial may be to blame."""
    slots: int = 0
    longest_s: float = 0.0
    lost: bool = False
    killed: bool = False


@dataclass(frozen=True)
class Look:
    """The state of stage and lanes, as the driver reads it at once."""

    progress: Progress | None
    all_left: bool
    hung: tuple[Any, ...]
    """Handles of processes to be ended."""
    fatal: str
    """The reason why the engine cannot go on; empty while it can."""
    lanes: tuple[Mapping[str, Any], ...] = field(repr=False)
    restarts: int = 0
    """Processes that came for a lane after its first."""


def _in_turn(method: Callable[Concatenate[Coordinator, P], R]) -> Callable[Concatenate[Coordinator, P], R]:
    """The method, which waits until other calls have been served."""

    def served(self: Coordinator, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._turn:
            return method(self, *args, **kwargs)

    return update_wrapper(cast("Callable[Concatenate[Coordinator, P], R]", served), method)


class Coordinator:
    """See the module. Any thread may call it; calls are served one after the other, but for `beat`.

    What a lane's call has changed is on the disk before it is answered. Calls that come meanwhile are served, and wait
    for the disk together.

    Args:
        spare: lanes that may come beyond a job's own, with nodes that join.
        hang_s: see `execution.hang_s`.
        environment: variables of the driver that the ledger needs, such as a database's password.
    """

    def __init__(
        self,
        spare: int,
        hang_s: float,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        os.environ.update(environment or {})
        self._spare = spare
        self._hang_s = hang_s
        self._clock = clock
        self._ticket = 0
        self._order: tuple[Kind, Any] = ("wait", None)
        self._ledger: Ledger | None = None
        self._finding: Finding | None = None
        self._asked = ""
        """The token of the process that has the question."""
        self._lanes: dict[int, LaneState] = {}
        self._barren: dict[int, int] = {}
        self._causes: dict[str, str] = {}
        self._came: set[int] = set()
        self._left: set[int] = set()
        self._stopping = False
        self._began_at = 0.0
        self._fatal = ""
        self._restarts = 0
        self._busy_s = 0.0
        """Time that the ledger has taken, during which nobody could be heard or served."""
        self._turn = threading.RLock()

    def _now(self) -> float:
        """The time on a clock that stands still while the ledger is busy."""
        return self._clock() - self._busy_s

    # -- the driver's side --------------------------------------------------------------------------------------

    def _give(self, kind: Kind, what: Any = None) -> None:
        self._ticket += 1
        self._order = (kind, what)

    def sees(self, path: str) -> bool:
        """Whether a file of the driver's is here too."""
        return Path(path).exists()

    @_in_turn
    def run(self, job: Job) -> None:
        # Here, not above: lanes import this file, and need none of Optuna and scikit-learn to start.
        from lab.record.ledger import Ledger

        # Spare lanes join, up to one per trial; without them a job has the lanes of its spec, so it can be repeated.
        job = replace(job, lanes=max(job.lanes, min(job.lanes + self._spare, job.trials)))
        self._ledger = Ledger(job, syncs=False)
        self._came, self._left = set(), set()
        self._stopping = False
        self._began_at = self._now()
        self._give("run", job)

    @_in_turn
    def ask(self, question: Question, *arguments: Any) -> None:
        self._finding, self._asked = None, ""
        self._give(question, arguments)

    @_in_turn
    def finding(self) -> Finding | None:
        return self._finding

    @_in_turn
    def look(self) -> Look:
        """The progress of the stage, and the lanes that are lost or hang. The driver calls it a few times a second."""
        now = self._now()
        hung = []
        for number, lane in self._lanes.items():
            silent_s = now - lane.heard_at
            lane.lost = silent_s > SILENT_S
            if self._ledger is not None and lane.lost:
                self._ledger.lost(number, silent_s)
            elif self._ledger is not None:
                self._ledger.heard(number)
            if self._hangs(number, lane, now):
                lane.killed = True
                self._causes[lane.token] = f"nothing was finished for {now - lane.worked_at:.0f} s"
                hung.append(lane.location.get("handle"))
        if self._ledger is not None and now - self._began_at > _PLACED_S:
            for number in self._ledger.lanes() - self._lanes.keys():  # of an earlier run, with more machines
                self._ledger.lost(number)
        progress = self._ledger.progress() if self._ledger is not None else None
        return Look(progress, self._all_left(), tuple(hung), self._fatal, self._describe(now), self._restarts)

    def _hangs(self, number: int, lane: LaneState, now: float) -> bool:
        working = self._ledger is not None and number in self._came and number not in self._left
        allowed = max(self._hang_s, _HANG_FACTOR * lane.longest_s)
        return working and not lane.killed and not lane.lost and now - lane.worked_at > allowed

    def _all_left(self) -> bool:
        """Whether every lane that came to the stage is through with it; one that is lost is not waited for."""
        return all(number in self._left or self._lanes[number].lost for number in self._came)

    def _describe(self, now: float) -> tuple[Mapping[str, Any], ...]:
        described = []
        for number, lane in sorted(self._lanes.items()):
            state = "lost" if lane.lost else ("working" if number in self._came - self._left else "waiting")
            location = {name: value for name, value in lane.location.items() if name != "handle"}
            described.append(
                {"lane": number, "state": state, "slots": lane.slots, "epoch_s": lane.longest_s, **location}
            )
        return tuple(described)

    @_in_turn
    def stop(self) -> None:
        """Ask lanes to end their epoch, save and stop."""
        self._stopping = True

    @_in_turn
    def end_stage(self) -> None:
        if self._ledger is not None:
            self._ledger.release()
        self._ledger = None
        self._give("wait")

    @_in_turn
    def leave(self) -> None:
        self._give("leave")

    # -- the lanes' side ----------------------------------------------------------------------------------------

    @_in_turn
    def hello(self, lane: int, token: str, location: Mapping[str, Any]) -> None:
        """Register a process for a lane. It replaces the one that had it before."""
        now = self._now()
        before = self._lanes.get(lane)
        died = ""
        if before is not None:
            self._restarts += 1
            # One that comes back on another node most likely lost its node, and its trials are not to blame.
            if before.location.get("node") == location.get("node"):
                died = self._causes.pop(before.token, "its process died")
            if self._asked == before.token:
                self._asked = ""
        self._barren[lane] = self._barren.get(lane, 0) + 1
        if self._barren[lane] > _BARREN:
            self._fatal = f"lane {lane} died {_BARREN} times in a row and never finished an epoch ({died})"
        self._lanes[lane] = LaneState(token, location, now, now, died)
        self._left.discard(lane)

    def beat(self, lane: int, token: str) -> Standing:
        """Note a sign of life, whatever the lane is busy with."""
        state = self._lanes.get(lane)
        if state is None or state.token != token:
            return Standing.REPLACED
        state.heard_at = self._now()
        return Standing.HEARD

    @_in_turn
    def order(self, seen: int, lane: int, token: str) -> tuple[int, Kind, Any] | None:
        """The numbered order that lanes have to follow now; None where they have seen it."""
        kind, what = self._order
        if self.beat(lane, token) is Standing.REPLACED:
            return (self._ticket, "leave", None)
        if kind in get_args(Question):
            if self._asked not in ("", token):
                return None
            self._asked = token
        return None if seen == self._ticket else (self._ticket, kind, what)

    @_in_turn
    def set_finding(self, token: str, finding: Finding) -> None:
        if token == self._asked:
            self._finding = finding

    @_in_turn
    def dying(self, lane: int, token: str, why: str) -> None:
        """Note that a process is about to end by itself, and that a new one may do better."""
        if self.beat(lane, token) is Standing.HEARD:
            self._causes[token] = why

    @_in_turn
    def broken(self, lane: int, token: str, error: LabError) -> None:
        """Note that a lane cannot do its work at all: no retry would help."""
        if self.beat(lane, token) is Standing.HEARD:
            self._fatal = f"lane {lane} on {self._lanes[lane].location.get('node')}: {error}"

    def call(self, ticket: int, lane: int, token: str, method: Method, *arguments: Any) -> Answer:
        """Call the ledger for a lane.

        It names the ticket it works on: a lane that comes to a stage when it is over would else train the next
        stage's trials by the last stage's job.
        """
        with self._turn:
            answer, ledger = self._called(ticket, lane, token, method, *arguments), self._ledger
        if ledger is not None:
            ledger.sync()
        return answer

    def _called(self, ticket: int, lane: int, token: str, method: Method, *arguments: Any) -> Answer:
        if self.beat(lane, token) is Standing.REPLACED:
            return Answer(Standing.REPLACED)
        if ticket != self._ticket or self._ledger is None:
            return Answer(Standing.OVER)
        state, began, now = self._lanes[lane], self._clock(), self._now()
        if state.lost:
            state.lost = False
            self._ledger.heard(lane)
        if method == "attach":
            self._came.add(lane)
            where = ", ".join(str(state.location[name]) for name in ("address", "device") if name in state.location)
            value: Any = self._ledger.attach(lane, state.died, where)
            state.died = ""
            if value.running:  # the ledger decides which of them kills the lane, if one does
                self._barren[lane] = 0
        elif method == "leave":
            self._left.add(lane)
            value = None
        else:
            value = getattr(self._ledger, method)(lane, *arguments)
        if method == "report":
            state.slots = len(arguments[1])
            state.longest_s = max(state.longest_s, now - state.worked_at)
            self._barren[lane] = 0
        self._busy_s += self._clock() - began
        state.worked_at = state.heard_at = self._now()
        return Answer(Standing.HEARD, value, self._stopping)
