"""The processes among which each batch of a lane is divided, as one of them sees them.

As in PyTorch's `DistributedDataParallel`, gradients are averaged over equal shares of a batch, and batch norm sees its
own share. One vector of all gradients is averaged at once, since the loop keeps them in one row.

Shapes: k slots, b examples of a batch, s optimizer steps of an epoch, p parameters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lab.errors import TaskError, first_line
from lab.spec.trial import Outcome, derive_seed
from lab.training.accelerator import accelerator, count
from lab.training.device import DeviceLost
from lab.training.failure import describe_error
from lab.training.fault import Fault
from lab.training.memory import out_of_memory

L = TypeVar("L")

_LOOPBACK = "lo" if sys.platform.startswith("linux") else "lo0"
_ON_LOOPBACK = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""By which both libraries are told on which interface processes of one machine listen."""

DIED = "a process of this lane has died"


class Parted(DeviceLost):
    """Processes that train a model in shares have parted, since one of them cannot go on: the others cannot either.

    Args:
        fault: what has ended the trial here; None: another process has left.
        is_memory: whether it was a lack of memory.
    """

    def __init__(self, fault: Fault | None = None, is_memory: bool = False) -> None:
        super().__init__(DIED if fault is None else fault.detail)
        self.fault, self.is_memory = fault, is_memory

    def __reduce__(self) -> tuple[type[Parted], tuple[Fault | None, bool]]:
        return Parted, (self.fault, self.is_memory)


_LONGEST_STEP = timedelta(minutes=15)
"""How much later one process may come to a step's end than the others; PyTorch's own default is 10 and 30 minutes."""


@dataclass(frozen=True)
class _Ended:
    """How what all processes do went in one of them."""

    done: Any = None
    """What it tells the others of it."""
    error: str | None = None
    is_memory: bool = False


class Peers:
    """This process and the others of its lane, each with a device of its own.

    Args:
        rank: this one's number; 0 is the lane's own.
        size: how many there are.
        meeting: a file that does not exist yet, by which they find each other.
        sharded: whether they have a share of the model each, so that one of them cannot compute without the others.

    Raises:
        DeviceLost: the others did not come.
    """

    def __init__(self, rank: int, size: int, meeting: Path, sharded: bool = False) -> None:
        self.rank, self.size, self.sharded = rank, size, sharded
        here = accelerator()
        on_gpus = here is not None and here.type == "cuda" and count() >= size
        self.device = torch.device("cuda", rank) if on_gpus else torch.device("cpu")
        if on_gpus:
            torch.cuda.set_device(self.device)
        for name in _ON_LOOPBACK:
            os.environ.setdefault(name, _LOOPBACK)
        _part()  # from those of a lane's former trainer
        try:
            dist.init_process_group(
                "nccl" if on_gpus else "gloo",
                init_method=f"file://{meeting.resolve()}",
                rank=rank,
                world_size=size,
                timeout=_LONGEST_STEP,
            )
        except RuntimeError as error:
            raise DeviceLost(f"the {size} processes of a lane do not come together: {first_line(error)}") from None
        self._group = dist.group.WORLD
        self._left = 0
        """Steps of this epoch whose gradients are not averaged yet."""

    def leave(self) -> None:
        """Part from the others; another trainer of this process may have others by now, which it keeps."""
        if dist.is_initialized() and dist.group.WORLD is self._group:
            _part()

    def rows(self, size: int) -> slice:
        """The rows of a batch of `size` that are this process's.

        Raises:
            TaskError: a batch cannot be divided equally.
        """
        each, rest = divmod(size, self.size)
        if rest:
            raise TaskError(f"batch_size: {size} is not divided equally among {self.size} processes")
        return slice(self.rank * each, (self.rank + 1) * each)

    def share(self, order: Tensor, size: int) -> Tensor:
        """This process's part [k, s * b / size] of an order of examples [k, s * b] in batches of `size`."""
        return order.view(len(order), -1, size)[:, :, self.rows(size)].reshape(len(order), -1)

    def seed(self, trial: int, step: int) -> int:
        """What is random in a step's forward pass begins with it, so that no two shares have the same noise."""
        return derive_seed(trial, "share", self.rank, step)

    def average(self, grad: Tensor, losses: Tensor) -> None:
        """Average gradients [p] and losses [k] of a step over all processes, in place.

        Raises:
            DeviceLost: a process has died.
        """
        total = torch.cat([grad, losses.to(grad.dtype)])
        self._sum(total)
        self._left -= 1
        grad.copy_(total[: len(grad)]).div_(self.size)
        losses.copy_(total[len(grad) :]).div_(self.size)

    def average_floats(self, tensors: Iterable[Tensor]) -> None:
        """Average what batch norms have seen; numbers that are counted are the same everywhere."""
        for tensor in tensors:
            if tensor.is_floating_point():
                self._sum(tensor)
                tensor.div_(self.size)

    def together(
        self, train: Callable[[], tuple[L, dict[int, Fault]]], steps: int, grad: Tensor, losses: Tensor
    ) -> tuple[L, dict[int, Fault]]:
        """Train an epoch's steps in all processes. What ends them in one of them ends them in all.

        A process that cannot go on averages zeros to the epoch's end, so that nobody waits for it, and only then is it
        asked how it went: to ask at each step would make a GPU wait each time.

        Args:
            train: calls `average` once a step; gives losses and, by slot, the faults of trials.
            steps: how many there are.
            grad, losses: of the shapes that `average` is given.

        Raises:
            DeviceLost: a process has died.
            Exception: what `train` has raised here, or what it was elsewhere: `OutOfMemoryError`, else `TaskError`.
        """
        self._left = steps
        losses_here: list[L] = []

        def own_steps() -> dict[int, Fault]:
            of_steps, faults = train()
            losses_here.append(of_steps)
            return faults

        def to_the_end() -> None:
            while self._left:
                self.average(torch.zeros_like(grad), torch.zeros_like(losses))

        every = self._each(own_steps, to_the_end)
        return losses_here[0], {slot: fault for faults in every for slot, fault in faults.items()}

    @contextmanager
    def one_fate(self) -> Iterator[None]:
        """What ends the work of this process in here ends that of all, at once.

        They wait for each other in each part of a model in shares, and nobody can stand in there for one that failed.

        Raises:
            Parted: in place of what was raised.
        """
        try:
            yield
        except Parted:
            raise
        except Exception as error:
            is_others = isinstance(error, DeviceLost | dist.DistError) or "gloo" in str(error)
            fault = None if is_others else Fault(Outcome.FAILED, describe_error(error))
            raise Parted(fault, out_of_memory(error)) from None

    def parted(self, fault: Fault) -> Parted:
        """What to raise where a trial has a fault here, of which the others know nothing."""
        return Parted(fault)

    def rows_of(self, order: Tensor) -> Tensor:
        """This process's part [k, r] of an order of examples [k, n], r rows for each process; the last ones have the
        first example in place of those that there are not."""
        each = -(-order.shape[1] // self.size)
        padded = torch.nn.functional.pad(order, (0, each * self.size - order.shape[1]))
        return padded[:, self.rank * each : (self.rank + 1) * each]

    def outputs(self, compute: Callable[[], Tensor], count: int) -> Tensor | None:
        """Outputs [k, n, ...] of all `count` rows, of which each process computes its own [k, r, ...]; None but in the
        first process.

        Raises:
            DeviceLost: a process has died.
            Exception: what `compute` has raised here or elsewhere, as `together` does.
        """
        computed: list[Tensor] = []
        if self.sharded:
            computed.append(compute().contiguous())
        else:
            self._each(lambda: computed.append(compute().contiguous()))
        (own,) = computed
        parts = [torch.empty_like(own) for _ in range(self.size)] if self.rank == 0 else None
        try:
            dist.gather(own, parts)
        except RuntimeError:
            raise DeviceLost(DIED) from None
        return None if parts is None else torch.cat(parts, dim=1)[:, :count]

    def _each(self, do: Callable[[], L], at_end: Callable[[], None] | None = None) -> list[L]:
        """Do it in every process, and hear by rank what each tells of it. What one has raised is raised in all.

        Args:
            at_end: what has to follow, also where `do` has raised.
        """
        raised, ended = None, _Ended()
        try:
            ended = _Ended(do())
        except DeviceLost:
            raise
        except Exception as error:
            raised = error
            ended = _Ended(error=describe_error(error), is_memory=out_of_memory(error))
        if at_end is not None:
            at_end()
        every = self._gathered(ended)
        if raised is not None:
            raise raised
        for other in every:
            if other.error is not None:
                raise torch.OutOfMemoryError(other.error) if other.is_memory else TaskError(other.error)
        return [other.done for other in every]

    def _sum(self, tensor: Tensor) -> None:
        try:
            dist.all_reduce(tensor)
        except RuntimeError:
            raise DeviceLost(DIED) from None

    def _gathered(self, ended: _Ended) -> list[_Ended]:
        every: list[_Ended] = [ended] * self.size
        try:
            dist.all_gather_object(every, ended)
        except RuntimeError:
            raise DeviceLost(DIED) from None
        return every


def _part() -> None:
    if dist.is_initialized():
        with suppress(RuntimeError):  # they are gone
            dist.destroy_process_group()
