"""A cluster's address is refused in one line, and before Ray waits for it."""

from __future__ import annotations

import socket

import pytest

from lab.errors import EngineError
from lab.lanes.ray.address import check_address
from tests.lanes.ray.clusters import free_port


@pytest.mark.parametrize(
    "address",
    [
        "http://head:8265",
        "ray://",
        "ray://head",
        "head",
        ":6379",
        "head:port",
        "head:99999",
        "ray://head:10001/path",
        "",
        "local",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(EngineError) as refused:
        check_address(address)
    assert str(refused.value) == f"--address: {address!r} is neither auto, HOST:PORT nor ray://HOST:PORT"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_is_taken_where_somebody_listens(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        check_address(f"{scheme}127.0.0.1:{head.getsockname()[1]}")
    check_address("auto")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_refused(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(EngineError, match=f"^--address: nothing answers at {address} ") as refused:
        check_address(address, wait_s=0.0)
    assert "\n" not in str(refused.value)
