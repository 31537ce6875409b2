"""Whether the processes of Ray that a driver depends on are there: its node's daemon, and the cluster's head.

Where one of them is gone, Ray waits for 10 s or 60 s, prints pages and ends the driver from within. Whoever looks for
them more often can still say what has happened, and how to go on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import ray

from lab.errors import EngineLost

SAVED = "all finished epochs are saved"
_EVERY_S = 1.0
_HEAD_S = 20.0
"""Seconds in which a head that is being restarted may be away. After 60 Ray ends the driver."""


class Lifeline:
    """Looks for the daemon and the head once a second.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = -_EVERY_S
        self._head_at = 0.0
        self._daemon = ""
        self._head: tuple[str, int] | None = None

    def hold(self) -> None:
        """Remember the processes of the Ray that this process has joined; a client outside a cluster has none."""
        node = ray._private.worker._global_node
        self._daemon = str(getattr(node, "raylet_socket_name", "") or "").removeprefix("unix://")
        host, _, port = str(getattr(node, "gcs_address", "") or "").rpartition(":")
        self._head = (host.strip("[]"), int(port)) if port.isdecimal() else None
        self._head_at = self._clock()

    def check(self, at_once: bool = False) -> None:
        """Look for them, if the last look was not just now.

        Raises:
            EngineLost: one of them is gone.
        """
        now = self._clock()
        if not at_once and now - self._looked_at < _EVERY_S:
            return
        self._looked_at = now
        if self._daemon and not _takes_connections(socket.AF_UNIX, self._daemon):
            raise EngineLost(f"Ray's process on this machine (raylet) has died; {SAVED}")
        if self._head is None or _takes_connections(socket.AF_INET, self._head):
            self._head_at = now
        elif now - self._head_at > _HEAD_S:
            raise EngineLost(f"the head of Ray has not answered for {now - self._head_at:.0f} s; {SAVED}")


def _takes_connections(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(address)
        except OSError:
            return False
    return True
