"""A lane on Ray: the process of one Tune trial, which follows the coordinator and asks the ledger through it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import ray
import torch

from lab.errors import LabError
from lab.lanes.lane import Lane
from lab.lanes.ray.coordinator import Answer, Finding, Method, Standing
from lab.lanes.ray.data_transfer import OpenedTask
from lab.lanes.self_test import self_test
from lab.lanes.speed.probe import probe
from lab.spec.exchange import Attachment, Decision, Report, Work
from lab.spec.plan import Job
from lab.training.accelerator import accelerator, name_of
from lab.training.device import DeviceLost

_QUESTIONS: dict[str, Callable[..., Finding]] = {"probe": probe, "self_test": self_test}
_IDLE_S = 0.02
_IDLE_MOST_S = 0.25
_BEAT_S = 2.0


class _StageOver(Exception):  # noqa: N818 - no error: the lane goes back for its next order
    """The stage that a lane works on is over."""


class _Replaced(Exception):  # noqa: N818 - no error: the lane has a new process
    """Another process has this lane: this one was cut off, and ends."""


def said(reference: Any, timeout_s: float | None = None) -> Any:
    """Wait for the coordinator; an error of ours that it raised comes out as itself, and so can be sent on."""
    try:
        return ray.get(reference, timeout=timeout_s)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, LabError) else error) from None


class _RemoteLedger:
    """The ledger's face, as a lane sees it across the cluster, for one stage."""

    def __init__(self, coordinator: Any, ticket: int, lane: int, token: str) -> None:
        self._coordinator = coordinator
        self._who = (ticket, lane, token)
        self.stopping = False

    def _ask(self, method: Method, *arguments: Any) -> Any:
        answer: Answer = said(self._coordinator.call.remote(*self._who, method, *arguments))
        if answer.standing is Standing.OVER:
            raise _StageOver
        if answer.standing is Standing.REPLACED:
            raise _Replaced
        self.stopping = answer.stopping
        return answer.value

    def attach(self, lane: int) -> Attachment:
        attachment: Attachment = self._ask("attach")
        return attachment

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work:
        work: Work = self._ask("next", tick, free)
        return work

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]:
        decisions: tuple[Decision, ...] = self._ask("report", tick, reports)
        return decisions

    def checkpoint(self, lane: int, state: bytes) -> None:
        self._ask("checkpoint", state)

    def trying(self, lane: int, trial: int | None) -> None:
        self._ask("trying", trial)

    def shrink(self, lane: int) -> Attachment:
        attachment: Attachment = self._ask("shrink")
        return attachment

    def leave(self) -> None:
        """This lane is through with the stage."""
        self._ask("leave")


def lane_main(config: dict[str, Any]) -> None:
    """The Tune trainable: follow the coordinator's orders until it says to leave."""
    coordinator, number, token = config["coordinator"], config["lane"], uuid.uuid4().hex
    ray.get(coordinator.hello.remote(number, token, _location()))
    with _beating(coordinator, number, token), contextlib.suppress(_Replaced):
        try:
            _follow(coordinator, number, token, config["task_module"])
        except DeviceLost as error:
            ray.get(coordinator.dying.remote(number, token, str(error)))
            os._exit(1)  # nothing less gives the GPU back in working order


def _location() -> dict[str, Any]:
    context = ray.get_runtime_context()
    return {
        "node": context.get_node_id(),
        "host": socket.gethostname(),
        "address": ray.util.get_node_ip_address(),
        "process": os.getpid(),
        "gpus": [str(gpu) for gpu in ray.get_gpu_ids()],
        "device": name_of(accelerator() or torch.device("cpu")),
        # In bytes: with the handle itself the coordinator would load what a lane is made of, PyTorch and Tune.
        "handle": ray.cloudpickle.dumps(context.current_actor),
    }


@contextlib.contextmanager
def _beating(coordinator: Any, number: int, token: str) -> Iterator[None]:
    """Tell the coordinator from another thread that this process lives, however long an epoch takes."""
    done = threading.Event()

    call = coordinator.beat.options(concurrency_group="beats")

    def beat() -> None:
        while not done.wait(_BEAT_S):
            with contextlib.suppress(ray.exceptions.RayError):  # the coordinator gone: Ray ends this process
                ray.get(call.remote(number, token), timeout=_BEAT_S * 5)

    threading.Thread(target=beat, daemon=True, name="beat").start()
    try:
        yield
    finally:
        done.set()


def _follow(coordinator: Any, number: int, token: str, task_module: str | None) -> None:
    seen, pause_s, opened = 0, _IDLE_S, OpenedTask(task_module)
    while True:
        order = ray.get(coordinator.order.remote(seen, number, token))
        if order is None:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _IDLE_MOST_S)
            continue
        (seen, kind, what), pause_s = order, _IDLE_S
        if kind == "leave":
            return
        try:
            if kind in _QUESTIONS:
                job, *rest = what
                ray.get(coordinator.set_finding.remote(token, _finding_of(_QUESTIONS[kind], opened.in_job(job), *rest)))
            elif kind == "run" and number < what.lanes:
                with contextlib.suppress(_StageOver):
                    _run_stage(number, opened.in_job(what), _RemoteLedger(coordinator, seen, number, token))
        except LabError as error:
            ray.get(coordinator.broken.remote(number, token, error))


def _finding_of(question: Callable[..., Finding], *arguments: Any) -> Finding:
    try:
        return question(*arguments)
    except LabError as error:
        return error


def _run_stage(number: int, job: Job, ledger: _RemoteLedger) -> None:
    lane, pause_s = Lane(number, job, ledger), _IDLE_S
    while lane.tick():
        if ledger.stopping:
            lane.save()
            break
        if lane.idle:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _IDLE_MOST_S)
        else:
            pause_s = _IDLE_S
    ledger.leave()
