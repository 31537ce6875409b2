"""What this process has started, and the addresses on which they listen, by Linux's /proc."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

_LISTENS = "0A"


def listening() -> set[str]:
    """Addresses on which this process or a descendant accepts TCP connections."""
    sockets = {inode for process in descendants() for inode in _sockets(process)}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS and rest[5] in sockets:
                addresses.add(_address(local.partition(":")[0]))
    return addresses


def _address(text: str) -> str:
    """Written as words of 32 bits in the machine's order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)


def descendants() -> set[int]:
    """This process and all that it started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
    processes = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in processes} - processes:
        processes |= more
    return processes


def _sockets(process: int) -> set[str]:
    sockets = set()
    try:
        for entry in Path(f"/proc/{process}/fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    except OSError:  # as above
        pass
    return sockets
