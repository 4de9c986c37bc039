"""What a round of ``mayhem`` does to a running job, each by one call: kills, stops, cuts, losses, rivals and edits."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis

import servers
from processes import Place, Running, pool_children, worker_mains
from slowproxy import SlowProxy

LONG = 35.0  # seconds: past the lease of a task and of a coordinator
NOBODY = " (nobody there)"  # what a strike says that met nothing
JOB_FOLDERS = Path("state/hugesync/jobs")


@dataclass
class Scene:
    """A job at work and all that can be done to it. ``overwrite`` is somebody else's write to the destination, ``edit`` a change
    of the source; each names what it did, "" = nothing."""

    place: Place
    proxy: SlowProxy
    chance: random.Random
    run: Running
    broker: servers.ValkeyServer | None
    overwrite: Callable[[], str]
    edit: Callable[[], str]
    told: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def strike(self) -> bool:
        """One of them, by chance; what was done is in ``told``. False where it met nobody: a process that is not started yet cannot
        be killed, and a round of such strokes would show nothing."""
        strikes, weights = zip(*STRIKES.items(), strict=True)
        (strike,) = self.chance.choices(strikes, weights)
        try:
            done = strike(self)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False
        if done == NOBODY:
            return False
        self.told.append(f"{strike.__name__}{done or ''}")
        return True

    def soon(self, seconds: float, then: Callable[[], object]) -> None:
        """Do ``then`` after ``seconds``, whatever else happens."""
        timer = threading.Timer(seconds, then)
        timer.daemon = True
        timer.start()
        self.threads.append(timer)

    def settle(self) -> None:
        """Wait until everything that was to end by itself has ended."""
        for thread in self.threads:
            thread.join()
        self.threads.clear()


def kill_child(scene: Scene) -> str | None:
    return _kill(scene, pool_children(scene.place))


def kill_worker(scene: Scene) -> str | None:
    return _kill(scene, worker_mains(scene.place))


def kill_producer(scene: Scene) -> str | None:
    scene.run.kill()
    return None


def kill_everything(scene: Scene) -> str | None:
    scene.run.kill()
    for p in [*worker_mains(scene.place), *pool_children(scene.place)]:
        with suppress(psutil.NoSuchProcess):
            p.kill()
    return None


def stop_child(scene: Scene) -> str | None:
    return _freeze(scene, pool_children(scene.place), scene.chance.uniform(0.1, 3))


def stop_worker(scene: Scene) -> str | None:
    return _freeze(scene, worker_mains(scene.place), scene.chance.uniform(0.1, 3))


def stop_child_past_its_lease(scene: Scene) -> str | None:
    return _freeze(scene, pool_children(scene.place), LONG)


def stop_producer(scene: Scene) -> str | None:
    return _freeze(scene, [psutil.Process(scene.run.pid)], scene.chance.uniform(0.1, 5))


def interrupt(scene: Scene) -> str | None:
    how = scene.chance.choice([signal.SIGINT, signal.SIGTERM])
    scene.run.process.send_signal(how)
    return f" {how.name}"


def cut_connections(scene: Scene) -> str | None:
    scene.proxy.cut()
    return None


def cut_off(scene: Scene) -> str | None:
    seconds = scene.chance.uniform(0.2, 4)
    scene.proxy.cut(off=True)
    scene.soon(seconds, scene.proxy.mend)
    return f" {seconds:.1f} s"


def flush(scene: Scene) -> str | None:
    ledger = _ledger(scene)
    if ledger is None:
        return NOBODY
    with suppress(redis.RedisError):
        ledger.flushall()
    ledger.close()
    return None


def stop_ledger(scene: Scene) -> str | None:
    return _freeze(scene, _ledger_processes(scene), scene.chance.uniform(0.1, 4))


def kill_ledger(scene: Scene) -> str | None:
    """A fleet's is started again with the data it kept; an embedded one's job is over, and resumed."""
    if scene.broker is None:
        return _kill(scene, _ledger_processes(scene))
    command = [str(a) for a in scene.broker.process.args]  # type: ignore[union-attr]
    scene.broker.process.kill()
    scene.broker.process.wait()
    time.sleep(scene.chance.uniform(0, 2))  # how long it is away, not a hope
    scene.broker.process, _ = servers._spawn(command, scene.broker.dir)
    servers._wait(scene.broker, lambda: servers._pongs(scene.broker.port))  # type: ignore[union-attr]
    return None


def rival(scene: Scene) -> str | None:
    return f" {scene.overwrite()}"


def edit(scene: Scene) -> str | None:
    return f" {path}" if (path := scene.edit()) else NOBODY


STRIKES: dict[Callable[[Scene], str | None], float] = {
    kill_child: 6, kill_worker: 4, kill_producer: 3, kill_everything: 2, stop_child: 3, stop_worker: 3, stop_producer: 2,
    stop_child_past_its_lease: 0.3, interrupt: 2, cut_connections: 4, cut_off: 3, flush: 3, stop_ledger: 2, kill_ledger: 2,
    rival: 3, edit: 2,
}  # fmt: skip


def _kill(scene: Scene, victims: list[psutil.Process]) -> str | None:
    if not victims:
        return NOBODY
    victim = scene.chance.choice(victims)
    victim.kill()
    return f" {victim.pid}"


def _freeze(scene: Scene, victims: list[psutil.Process], seconds: float) -> str | None:
    if not victims:
        return NOBODY
    victim = scene.chance.choice(victims)
    victim.suspend()

    def go_on() -> None:
        with suppress(psutil.NoSuchProcess):
            victim.resume()

    scene.soon(seconds, go_on)
    return f" {victim.pid} for {seconds:.1f} s"


def _ledger(scene: Scene) -> Any:
    if scene.broker is not None:
        return redis.Redis.from_url(scene.broker.url, socket_timeout=5)
    for path in (scene.place.folder / JOB_FOLDERS).glob("*/job.json"):
        with suppress(OSError, ValueError):
            url = str(json.loads(path.read_text()).get("broker", ""))
            socket = url.partition("://")[2].partition("?")[0]
            if socket and os.path.exists(socket):
                return redis.Redis(unix_socket_path=socket, socket_timeout=5)
    return None


def _ledger_processes(scene: Scene) -> list[psutil.Process]:
    if scene.broker is not None:
        return [psutil.Process(scene.broker.process.pid)]
    found = []
    for p in scene.place.living():
        with suppress(psutil.Error):
            if "valkey" in p.name() or "redis" in p.name() or "valkey" in " ".join(p.cmdline()):
                found.append(p)
    return found
