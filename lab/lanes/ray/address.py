"""A check of a cluster's address before Ray takes it: Ray waits for minutes where nobody answers."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from lab.errors import EngineError

_WAIT_S = 20.0
"""Seconds to wait for a head that is just being restarted."""


def check_address(address: str, wait_s: float = _WAIT_S) -> None:
    """Refuse an address that Ray could not join.

    Raises:
        EngineError: it is neither `auto`, `HOST:PORT` nor `ray://HOST:PORT`, or nothing listens there.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"gcs://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number
        host, port = None, None
    if parts.scheme not in ("gcs", "ray") or not host or port is None or parts.path:
        raise EngineError(f"--address: {address!r} is neither auto, HOST:PORT nor ray://HOST:PORT")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            socket.create_connection((host, port), timeout=max(wait_s, 1.0)).close()
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise EngineError(f"--address: nothing answers at {address} ({error.strerror or error})") from error
        time.sleep(0.2)
