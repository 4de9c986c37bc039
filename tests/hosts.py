"""Several hosts on one machine: network namespaces on a bridge, each with an address of its own. Needs root and iproute2."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

NET = "10.77.43"  # of the machine's own; a test that finds it taken fails at once
BRIDGE_HOST = 1


class Network:
    """``host(name)`` makes one; ``cut`` and ``mend`` its link. ``close`` takes everything away again, whatever happened."""

    def __init__(self) -> None:
        self._id = f"{os.getpid() % 100_000}"
        self._bridge = f"hsb{self._id}"
        self._hosts: dict[str, int] = {}
        _ip("link", "add", self._bridge, "type", "bridge")
        try:
            _ip("addr", "add", f"{NET}.{BRIDGE_HOST}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Of the machine that the hosts are on."""
        return f"{NET}.{BRIDGE_HOST}"

    def host(self, name: str) -> str:
        """A new host; returns its address."""
        number = len(self._hosts) + 2
        self._hosts[name] = number
        space, link = self._space(name), self._link(name)
        _ip("netns", "add", space)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", link, "master", self._bridge, "up")
        _ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        return f"{NET}.{number}"

    def inside(self, name: str) -> tuple[str, ...]:
        """What goes before a command that runs on the host; it becomes that command, with the same process id."""
        return ("ip", "netns", "exec", self._space(name))

    def cut(self, name: str) -> None:
        """Nothing comes or goes any more, and nobody is told: as a cable that is pulled out."""
        _ip("link", "set", self._link(name), "down")

    def mend(self, name: str) -> None:
        _ip("link", "set", self._link(name), "up")

    def close(self) -> None:
        for name in self._hosts:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._space(name))
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._bridge)

    def _space(self, name: str) -> str:
        return f"hs{self._id}-{name}"

    def _link(self, name: str) -> str:
        return f"hs{self._id}v{self._hosts[name]}"  # at most 15 letters


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
