"""The quiet half of the ledger on Redis: jobs, leases, checkpoint, workers. ``redis.py`` adds tasks and files."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, Self

import redis

from hugesync_tasks import bucket, identity
from hugesync_tasks.aimd import CONSTANTS, Grant, Limit, Report
from hugesync_tasks.errors import Refused
from hugesync_tasks.state.base import EVERYONE, SHARES_MS, TOLD_MS, TakenUp
from hugesync_tasks.state.redis_connect import Server, check

RATE_TIMEOUT = 1.0  # s; requests to a store wait for the answer, and there is one without it


class RedisJobs:
    def __init__(
        self, state_url: str, prefix: str = "hs:", broker_url: str | None = None, queue_prefix: str = "hs:q:"
    ) -> None:
        self._urls = list(dict.fromkeys((state_url, broker_url or state_url)))
        self._server = Server(state_url)
        self._broker = self._server if len(self._urls) == 1 else Server(self._urls[1])
        self._rates = Server(state_url, retries=0, socket_timeout=RATE_TIMEOUT)  # connects at its first call
        self._prefix = prefix
        self._queue_prefix = queue_prefix

    @classmethod
    def from_url(
        cls, url: str, prefix: str = "hs:", broker_url: str | None = None, queue_prefix: str = "hs:q:"
    ) -> Self:
        """Connects at the first call. Raises UsageError for a URL that cannot be read."""
        return cls(url, prefix, broker_url, queue_prefix)

    def _key(self, job: str, *rest: str) -> str:
        return f"{self._prefix}job:{{{job}}}:{':'.join(rest)}"

    def _keys(self, job: str, *names: str) -> list[str]:
        return [self._key(job, name) for name in names]

    # jobs
    def check_server(self) -> None:
        for url in self._urls:
            check(url)

    def open_job(self, job: str, spec: str) -> None:
        def store(r: redis.Redis) -> None:
            started, micros = listed(r.time())
            p = r.pipeline(transaction=True)
            p.set(self._key(job, "spec"), spec)
            p.zadd(f"{self._prefix}jobs", {job: int(started) + int(micros) / 1e6})
            p.execute()

        self._server.call(store)

    def spec(self, job: str) -> str | None:
        found = self._server.call(lambda r: r.get(self._key(job, "spec")))
        return None if found is None else str(found)

    def jobs(self) -> list[tuple[str, float]]:
        rows = self._server.call(lambda r: r.zrange(f"{self._prefix}jobs", 0, -1, desc=True, withscores=True))
        return [(job, float(started)) for job, started in listed(rows)]

    def meta(self, job: str) -> dict[str, str]:
        return self._hash(self._key(job, "meta"))

    def set_meta(self, job: str, **fields: str) -> None:
        pairs = [word for field in fields.items() for word in field]
        if pairs:
            self._server.call(lambda r: r.hset(self._key(job, "meta"), items=pairs))

    def cancel(self, job: str) -> None:
        self.set_meta(job, cancel="1")

    def forget_job(self, job: str, history: bool = True) -> None:
        keys = self._keys(
            job, "tasks", "files", "names", "lease", "cp", "latest", "events", "traffic", "bw", "bw:by", "tps", "tps:by"
        )
        if not history:
            keys += self._keys(job, "spec", "meta")
            self._server.call(lambda r: r.zrem(f"{self._prefix}jobs", job))
        self._server.run("forget_job", keys, [self._key(job)])

    def put_names(self, job: str, blocks: Iterable[bytes]) -> None:
        self._server.call(lambda r: r.unlink(self._key(job, "names")))
        for number, block in enumerate(blocks):
            self._server.call(partial(_put, key=self._key(job, "names"), field=str(number), block=block))

    def names(self, job: str) -> Iterator[bytes]:
        for number in count():
            found = self._server.call(partial(_get, key=self._key(job, "names"), field=str(number)))
            if found is None:
                return
            yield b64decode(found)

    # leadership, checkpoint, destination lock
    def lead(self, job: str, owner: str, lease_ms: int) -> bool:
        return bool(self._server.run("lead", self._keys(job, "lease", "meta"), [owner, lease_ms, "take"]))

    def keep_lead(self, job: str, owner: str, lease_ms: int) -> bool:
        return bool(self._server.run("lead", self._keys(job, "lease", "meta"), [owner, lease_ms, "keep"]))

    def leader(self, job: str) -> str:
        return str(self._server.call(lambda r: r.get(self._key(job, "lease"))) or "")

    def step_down(self, job: str, owner: str) -> None:
        self._server.run("release", self._keys(job, "lease"), [owner])

    def offer(self, job: str, needs: str) -> None:
        self._server.call(lambda r: r.hset(f"{self._prefix}offers", job, needs))

    def withdraw(self, job: str) -> None:
        self._server.call(lambda r: r.hdel(f"{self._prefix}offers", job))

    def leaderless(self) -> dict[str, str]:
        def led(r: redis.Redis) -> list[Any]:
            p = r.pipeline(transaction=False)
            for job in offers:
                p.exists(self._key(job, "lease"))
            return listed(p.execute())

        offers = self._hash(f"{self._prefix}offers")
        leases = self._server.call(led) if offers else []
        return {job: needs for (job, needs), held in zip(offers.items(), leases, strict=True) if not held}

    def take_up(self, job: str, owner: str, lease_ms: int, most: int, wait_ms: tuple[int, int]) -> TakenUp:
        args: list[str | int] = [owner, lease_ms, most, *wait_ms]
        return TakenUp(self._server.run("take_up", self._keys(job, "lease", "meta", "cp"), args))

    def take_over(self, job: str, owner: str) -> int:
        keys = self._keys(job, "lease", "tasks", "events", "meta")
        epoch = int(self._server.run("take_over", keys, [owner, self._key(job)]))
        if epoch < 0:
            raise Refused(f"another coordinator leads job {job}")
        return epoch

    def checkpoint(self, job: str, owner: str, key: str, counters: str, failures: str) -> bool:
        return bool(self._server.run("checkpoint", self._keys(job, "lease", "cp"), [owner, key, counters, failures]))

    def read_checkpoint(self, job: str) -> tuple[str, str, str] | None:
        cp = self._hash(self._key(job, "cp"))
        return (cp["key"], cp["counters"], cp["failures"]) if cp else None

    def tell(self, job: str, latest: str) -> None:
        self._server.call(lambda r: r.set(self._key(job, "latest"), latest, px=TOLD_MS))

    def told(self, job: str) -> tuple[str, float] | None:
        def read(r: redis.Redis) -> list[Any]:
            p = r.pipeline(transaction=True)
            p.get(self._key(job, "latest"))
            p.pttl(self._key(job, "latest"))
            return listed(p.execute())

        latest, left = self._server.call(read)
        return None if latest is None else (str(latest), (TOLD_MS - int(left)) / 1000)

    def lock(self, destination: str, job: str, lease_ms: int) -> str:
        return str(self._server.run("hold", [f"{self._prefix}lock:{destination}"], [job, lease_ms]))

    def unlock(self, destination: str, job: str) -> None:
        self._server.run("release", [f"{self._prefix}lock:{destination}"], [job])

    # workers, announcements
    def heartbeat(self, worker: str, info: str, lease_ms: int) -> None:
        self._server.run("heartbeat", [self._worker_key(worker), self._worker_key()], [worker, info, lease_ms])

    def workers(self, heard_within_ms: int | None = None) -> dict[str, str]:
        def heard(r: redis.Redis) -> list[Any]:
            seconds, micros = listed(r.time()) if heard_within_ms is not None else (0, 0)
            since = int(seconds) * 1000 + int(micros) // 1000 - (heard_within_ms or 0)
            return listed(r.zrangebyscore(self._worker_key(), since, "+inf"))

        ids: list[str] = self._server.call(heard)
        if not ids:
            return {}
        infos = listed(self._server.call(lambda r: r.mget([self._worker_key(worker) for worker in ids])))
        return {worker: info for worker, info in zip(ids, infos, strict=True) if info is not None}

    def wish_slots(self, whom: str, slots: int) -> None:
        def write(r: redis.Redis) -> None:
            p = r.pipeline(transaction=True)
            if whom == EVERYONE:
                p.unlink(f"{self._prefix}scale")
            p.hset(f"{self._prefix}scale", whom, str(slots))
            p.execute()

        self._server.call(write)

    def wished_slots(self) -> dict[str, int]:
        return {whom: int(slots) for whom, slots in self._hash(f"{self._prefix}scale").items()}

    def _worker_key(self, *worker: str) -> str:
        return ":".join((f"{self._prefix}{{workers}}", *worker))

    # shares of the workers
    def share(self, job: str, row: str, head: str = "") -> dict[str, tuple[str, float]]:
        flat = self._server.run("share", [self._shares_key(), self._shares_key("heads")], [job, row, head, SHARES_MS])
        return {j: (told, int(age) / 1000) for j, age, told in zip(flat[::3], flat[1::3], flat[2::3], strict=True)}

    def heads(self) -> dict[str, str]:
        return self._hash(self._shares_key("heads"))

    def _shares_key(self, *what: str) -> str:
        return ":".join((f"{self._prefix}{{shares}}", *what))

    # rates
    def share_rate(self, place: str, sharer: str, report: Report) -> Grant:
        key = f"{self._prefix}rate:{{{identity.place_id(place)}}}"  # an endpoint may be long, and hold a password
        said: list[str | int] = [sharer, report.used, f"{report.seconds:.6f}", int(report.need)]
        said.append("" if report.age is None else f"{report.age:.6f}")
        b = report.believed
        said += ["", "", ""] if b is None else [f"{x:.6f}" for x in (b.rate, b.knee, b.left)]
        rate, knee, left, sharers, tokens, wait = self._rates.run(
            "rate", [key, f"{key}:by"], [*said, *map(str, CONSTANTS)]
        )
        limit = Limit(float(rate), float(knee), float(left)) if rate else None
        return Grant(limit, int(sharers), int(tokens), float(wait))

    def draw(self, job: str, sharer: str, need: int, busy: bool, of: str = "bwlimit") -> bucket.Grant:
        where = {"bwlimit": "bw", "tpslimit": "tps"}[of]
        return self._drawn(self._keys(job, "meta", where, f"{where}:by"), of, sharer, need, busy)

    def draw_at(self, endpoint: str, prefix: str, sharer: str, need: int, busy: bool, of: str) -> bucket.Grant:
        key = self._limit_key(endpoint)
        where = f"{key}:bw" if of == "bwlimit" else f"{key}:tps:{identity.place_id(prefix)}"
        return self._drawn([key, where, f"{where}:by"], of, sharer, need, busy)

    def _drawn(self, keys: list[str], of: str, sharer: str, need: int, busy: bool) -> bucket.Grant:
        constants = map(str, bucket.CONSTANTS)
        rate, sharers, n, wait = self._rates.run("draw", keys, [of, sharer, need, int(busy), *constants])
        return bucket.Grant(float(rate) if rate else None, int(sharers), int(n), float(wait))

    def limit_endpoint(self, endpoint: str, said: Mapping[str, str]) -> None:
        def write(r: redis.Redis) -> None:
            p = r.pipeline(transaction=False)  # two slots of a cluster; an endpoint without limits is no harm
            p.hset(self._limit_key(endpoint), items=[word for pair in said.items() for word in pair])
            p.hset(f"{self._prefix}limits", identity.place_id(endpoint), endpoint)
            p.execute()

        if said:
            self._server.call(write)

    def endpoints(self) -> dict[str, dict[str, str]]:
        return {
            endpoint: self._hash(self._limit_key(endpoint)) for endpoint in self._hash(f"{self._prefix}limits").values()
        }

    def _limit_key(self, endpoint: str) -> str:
        return f"{self._prefix}limit:{{{identity.place_id(endpoint)}}}"

    def announce(self, queue: str, needs: str) -> None:
        self._server.call(lambda r: r.hset(f"{self._prefix}announce", queue, needs))

    def retract(self, queue: str) -> None:
        self._server.call(lambda r: r.hdel(f"{self._prefix}announce", queue))

    def announced(self) -> dict[str, str]:
        return self._hash(f"{self._prefix}announce")

    def queue_length(self, queue: str) -> int:
        return int(str(self._broker.call(lambda r: r.llen(self._queue_prefix + queue))))

    def close(self) -> None:
        self._server.close()
        self._broker.close()
        self._rates.close()

    def _hash(self, key: str) -> dict[str, str]:
        found: Any = self._server.call(lambda r: r.hgetall(key))
        return dict(found)


def listed(reply: Any) -> list[Any]:
    """redis-py types every reply as perhaps awaitable, and answers None for an absent list."""
    return list(reply or ())


def _put(r: redis.Redis, key: str, field: str, block: bytes) -> None:
    r.hset(key, field, b64encode(block).decode())


def _get(r: redis.Redis, key: str, field: str) -> str | None:
    found = r.hget(key, field)
    return None if found is None else str(found)
