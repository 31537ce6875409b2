"""Snapshots are read back bit by bit, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.training.snapshots import check_packable, load_weights, pack, unpack


def _net(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def test_tensors_come_back_as_they_were_even_from_views():
    base = torch.randn(3, 4)
    tensors = {"row": base[1], "column": base[:, 1], "same": base[1], "n": torch.tensor(3), "none": torch.empty(0)}
    unpacked = unpack(pack(tensors, {"step": "1"}), "x")
    assert unpacked.keys() == tensors.keys()
    assert all(torch.equal(unpacked[name], tensors[name]) for name in tensors)


def test_weights_and_buffers_are_put_into_a_fresh_model(tmp_path: Path):
    source, target = _net(), _net()
    source(torch.randn(8, 2))
    (tmp_path / "w").write_bytes(pack(_tensors(source)))
    load_weights(target, tmp_path / "w")
    assert all(torch.equal(_tensors(target)[name], tensor) for name, tensor in _tensors(source).items())
    assert all(p.requires_grad for p in target.parameters())


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04pickle" * 9, pack(_tensors(_net()))[:-1]])
def test_foreign_or_truncated_content_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(RecordError, match="is no safetensors file, or is cut off") as caught:
        load_weights(_net(), tmp_path / "w")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [_net(4), nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 3)])
def test_the_weights_of_another_architecture_are_refused(tmp_path: Path, other: nn.Module):
    (tmp_path / "w").write_bytes(pack(_tensors(other)))
    with pytest.raises(RecordError, match="another architecture"):
        load_weights(_net(), tmp_path / "w")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match="cannot be read"):
        load_weights(_net(), tmp_path / "none")


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [(torch.eye(3).to_sparse(), "torch.sparse_coo"), (torch.ones(2, dtype=torch.complex128), "torch.complex128")],
)
def test_a_model_that_could_not_be_saved_is_refused_by_name(tensor: Tensor, kind: str):
    module = nn.Sequential(nn.Linear(3, 2))
    check_packable(module)
    module[0].register_buffer("adjacency", tensor)
    with pytest.raises(TaskError, match=rf"model: '0.adjacency' is {kind}, which a snapshot cannot hold"):
        check_packable(module)
