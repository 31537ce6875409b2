"""One model whose parameters, gradients and optimizer state are divided among the processes of a lane.

Each process keeps its share of every parameter, and of all that belongs to it. A part of the model is whole only while
it computes. That is what `torch.distributed.fsdp.fully_shard` does (FSDP2; stage 3 of ZeRO, Rajbhandari et al. 2020).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from lab.errors import TaskError
from lab.tasks.transfer.adapter import own_tensors
from lab.training.data_parallel.peers import DIED, Peers
from lab.training.device import DeviceLost
from lab.training.noise import SlotNoise
from lab.training.sequential import SequentialModels, flattened, shaped
from lab.training.stacking.layouts import NotStackable

_LEAST_PART = 2**20
"""Numbers of a part that is made whole by itself: to ask for fewer takes longer than to compute with them."""


class ShardedModels(SequentialModels):
    """The one model of a lane, in shares. Its row is a copy of this process's share, and goes into the model before
    each forward pass. With Adam a process holds 5 / size copies of the model, and 4 where it is not in shares.

    Args:
        peers: among whom it is divided. All of them call the same methods in the same order.
        template: a model of any trial.
        least_part: see `parts`.

    Raises:
        TaskError: it cannot be divided.
    """

    def __init__(self, peers: Peers, template: nn.Module, least_part: int = _LEAST_PART) -> None:
        super().__init__(1, peers.device)
        for name, parameter in template.named_parameters():
            if not parameter.ndim:
                raise TaskError(
                    f"model: {name} is a single number, which cannot be divided: make it a tensor of one, "
                    "torch.ones(1), or leave out execution.sharded"
                )
        self._rank, self._size, self._least_part = peers.rank, peers.size, least_part
        self._mesh = DeviceMesh(peers.device.type, list(range(peers.size)))
        self._shares: dict[str, DTensor] = {}
        """The trained parameters, in the order of the row."""

    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        for part in parts(module, self._least_part):
            # By default the outermost part stays whole after a forward pass, where its shares are asked for.
            fully_shard(part, mesh=self._mesh, reshard_after_forward=True)
        module = module.to(self._device)
        self._shares = {name: p for name, p in module.named_parameters() if p.requires_grad and isinstance(p, DTensor)}
        row = torch.cat([_local(share).flatten() for share in self._shares.values()])
        self._modules[slot], self._flat[slot] = module, (row, torch.zeros_like(row))
        self.noise[slot] = SlotNoise(seed)
        self.seed(slot, seed)

    def sizes(self, slot: int) -> Mapping[str, int]:
        return {name: _local(share).numel() for name, share in self._shares.items()}

    def freeze(self, slot: int, names: frozenset[str]) -> None:
        if names:
            raise NotStackable("its schedule freezes parts of a model, which one in shares cannot do")

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        self._to_model(active[0])
        return super().forward(x, active)

    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        torch.autograd.backward(loss)
        for share, part in self._in_shares(self.grad(active[0])):
            if isinstance(share.grad, DTensor):
                part.copy_(share.grad.to_local().flatten())
                share.grad = None
            else:
                part.zero_()  # the loss does not depend on it

    def norm(self, grad: Tensor) -> Tensor:
        square = grad.square().sum()
        with _as_lost():
            dist.all_reduce(square)
        return square.sqrt()

    def tensors(self, slot: int) -> dict[str, Tensor]:
        """The whole model on the host, in the first process; in the others no numbers, but the same shapes."""
        self._to_model(slot)
        return {name: self._on_host(tensor.detach()) for name, tensor in own_tensors(self.module(slot)).items()}

    def put(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in own_tensors(self.module(slot)).items():
            if isinstance(tensor, DTensor):
                _local(tensor).copy_(self._share_of(tensors[name]))
            else:
                tensor.copy_(tensors[name])
        for share, part in self._in_shares(self.row(slot)):
            part.copy_(_local(share).flatten())

    def whole(self, part: Tensor, names: Sequence[str]) -> Tensor:
        pieces = []
        for share, piece in self._in_shares(part, names):
            local = piece.view(_local(share).shape)
            full = DTensor.from_local(local, self._mesh, [Shard(0)], shape=share.shape, stride=share.stride())
            pieces.append(flattened(self._on_host(full)))
        return torch.cat(pieces)

    def share(self, whole: Tensor, names: Sequence[str]) -> Tensor:
        sizes = [self._shares[name].numel() for name in names]
        pieces = zip(torch.split(whole, sizes), names, strict=True)
        return torch.cat([self._share_of(shaped(piece, self._shares[name].shape)).flatten() for piece, name in pieces])

    def _to_model(self, slot: int) -> None:
        for share, part in self._in_shares(self.row(slot)):
            _local(share).copy_(part.view(_local(share).shape))

    def _in_shares(self, row: Tensor, names: Sequence[str] | None = None) -> Iterator[tuple[DTensor, Tensor]]:
        """The parameters, or those of these names, with what of a row is theirs."""
        start = 0
        for name in self._shares if names is None else names:
            share = self._shares[name]
            yield share, row[start : (start := start + _local(share).numel())]

    def _share_of(self, whole: Tensor) -> Tensor:
        """As FSDP2 divides a parameter: along its first dimension, into parts of which the last ones may be smaller."""
        chunks = whole.chunk(self._size)
        return chunks[self._rank] if self._rank < len(chunks) else whole[:0]

    def _on_host(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, DTensor):
            with _as_lost():
                tensor = tensor.full_tensor()
        return tensor.cpu() if self._rank == 0 else tensor.to("meta")


def parts(module: nn.Module, least: int) -> list[nn.Module]:
    """What of a model is made whole together, inner parts first and the model itself at last.

    A part is a member of an `nn.Sequential` or `nn.ModuleList`, since those are called as modules. It has `least`
    numbers or more beside those of the parts in it, and none that another part uses too.

    >>> net = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 1)))
    >>> [type(part).__name__ for part in parts(net, 50)]
    ['Linear', 'Linear', 'Sequential']
    """
    uses = Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))

    def within(owner: nn.Module) -> tuple[list[nn.Module], int]:
        inner, rest = [], sum(p.numel() for p in owner.parameters(recurse=False))
        for child in owner.children():
            of_child, left = within(child)
            own = Counter(id(p) for _, p in child.named_parameters(remove_duplicate=False))
            is_called = isinstance(owner, nn.Sequential | nn.ModuleList) and not isinstance(child, nn.ModuleList)
            if is_called and left >= least and all(uses[p] == count for p, count in own.items()):
                of_child, left = [*of_child, child], 0
            inner += of_child
            rest += left
        return inner, rest

    return [*within(module)[0], module]


def _local(share: DTensor) -> Tensor:
    local: Tensor = share.detach().to_local()  # type: ignore[attr-defined]
    return local


@contextmanager
def _as_lost() -> Iterator[None]:
    """What the other processes can no longer answer is a loss of the lane."""
    try:
        yield
    except RuntimeError:
        raise DeviceLost(DIED) from None
