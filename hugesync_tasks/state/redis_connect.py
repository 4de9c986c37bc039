"""One Redis or Valkey server as the ledger sees it: its address, its errors in our words, its scripts.

No password ever reaches a message: only ``Address.name`` is shown, and it is made from host, port and database alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from redis import exceptions as vendor
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from hugesync_tasks.errors import HugeSyncError, Refused, Unreachable, UsageError

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # s
SOCKET_TIMEOUT = 30.0  # s; longer than any blocking call we make
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.5)  # s before each repeat of a call whose connection broke; a restart takes longer
SCRIPTS = (
    "hold", "release", "lead", "take_up", "checkpoint", "take_over", "put_tasks", "recall", "claim", "renew", "give_back", "settle", "statuses", "finished",
    "set_upload", "close_file", "put_notes",
    "put_parts", "part_done", "forget_job", "heartbeat", "share", "rate", "draw", "load",
)  # fmt: skip

_BAD_URL = "a Redis URL must read redis://, rediss:// or unix://, with %-escapes for special characters of a password"
_ECHO = ", with args beginning with"  # how a server without AUTH repeats the password, or the first half of it
_IN_PIPELINE = " of pipeline caused error: "  # redis-py puts number and command before what the server said
_FULL_OR_DOWN = ("OOM ", "MISCONF", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "NOREPLICAS")


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` as redis-py reads it (secret, kept out of every repr); ``name`` is safe to show."""

    name: str
    url: str = field(repr=False)
    password: str = field(repr=False, default="")

    @classmethod
    def parse(cls, url: str) -> Address:
        """``redis+socket://`` (Celery's word for ``unix://``) is understood too. Raises UsageError, which shows nothing
        of what it could not read: a password with a stray ``/`` or ``#`` lands in any part of a URL."""
        try:
            s = urlsplit(url)
            socket = s.scheme in ("unix", "redis+socket")
            if s.fragment or not (_sound_socket(s) if socket else _sound_host(s)):
                raise ValueError
            query = {k: v[0] for k, v in parse_qs(s.query).items()}
            password = unquote(s.password or "") or query.get("password", "")
            if socket:
                db = query.get("db") or query.get("virtual_host", "")
                plain = s._replace(scheme="unix", query=s.query.replace("virtual_host=", "db=")).geturl()
                plain = plain if plain.startswith("unix://") else plain.replace("unix:", "unix://", 1)
                return cls(f"unix://{unquote(s.path)}" + (f"?db={int(db)}" if db else ""), plain, password)
            host = s.hostname or "localhost"
            host = f"[{host}]" if ":" in host else host
            return cls(f"{s.scheme}://{host}:{s.port or 6379}/{int(s.path.strip('/') or 0)}", url, password)
        except ValueError:
            raise UsageError(_BAD_URL) from None


def _sound_socket(s: SplitResult) -> bool:
    return bool(s.path) and (not s.netloc or s.netloc.endswith("@"))


def _sound_host(s: SplitResult) -> bool:
    return s.scheme in ("redis", "rediss") and "@" not in s.path + s.query


class Server:
    """A connection pool (safe between threads and after a fork) and the registered scripts."""

    def __init__(self, url: str, *, retries: int = len(PAUSES), socket_timeout: float = SOCKET_TIMEOUT) -> None:
        self.address = Address.parse(url)
        self._pauses = PAUSES[:retries]
        over_tcp = not self.address.url.startswith("unix:")
        try:
            self._client = redis.Redis.from_url(
                self.address.url,
                decode_responses=True,
                encoding_errors="surrogateescape",  # any bytes survive the way there and back
                socket_timeout=socket_timeout,
                socket_connect_timeout=min(CONNECT_TIMEOUT, socket_timeout),
                health_check_interval=25,
                retry=Retry(NoBackoff(), 0),  # ``call`` repeats; the client would in three places within each other
                **({"socket_keepalive": True} if over_tcp else {}),
            )
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # an unknown option in the URL shows here, not later
        except (ValueError, TypeError, vendor.RedisError):
            raise UsageError(f"an option of the URL of {self.address.name} is not understood") from None
        self._scripts = {name: Script(self._client, _source(name)) for name in SCRIPTS}

    def call(self, command: Callable[[redis.Redis], T]) -> T:
        """Make one call, and make it again where the connection broke: the only layer that does. After a time-out nobody knows,
        and whoever called has a better idea when to ask again.

        Raises Unreachable, Refused, or UsageError where the credentials are wrong or it is no Redis."""
        pauses = iter(self._pauses)
        while True:
            try:
                return command(self._client)
            except vendor.RedisError as e:
                pause = next(pauses, None) if _broke(e) else None
                if pause is None:
                    secret = self.address.password
                    raise self._translated(e) from (None if (secret and secret in str(e)) or _ECHO in str(e) else e)
            time.sleep(pause)

    def run(self, script: str, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Run one of ``SCRIPTS`` by its hash; a server that forgot it (restart, SCRIPT FLUSH) is sent it again."""
        return self.call(lambda _: self._scripts[script](keys=keys, args=args))

    def close(self) -> None:
        self._client.close()

    def _translated(self, e: vendor.RedisError) -> HugeSyncError:
        name, said = self.address.name, str(e).partition(_ECHO)[0].rpartition(_IN_PIPELINE)[2]
        if self.address.password:
            said = said.replace(self.address.password, "***")
        if isinstance(e, (vendor.AuthenticationError, vendor.AuthorizationError, vendor.NoPermissionError)):
            return UsageError(f"{name} refuses our credentials: {said}")
        if isinstance(e, vendor.InvalidResponse):
            return UsageError(f"{name} does not answer as a Redis server does: {said}")
        if isinstance(e, vendor.TimeoutError):
            return Unreachable(f"{name} does not answer: {said}")
        if isinstance(e, vendor.ConnectionError):
            return Unreachable(f"{name} cannot be reached: {said}")
        if isinstance(e, vendor.OutOfMemoryError) or said.startswith(_FULL_OR_DOWN):
            return Unreachable(f"{name} takes no writes now: {said}")
        return Refused(f"{name} answers with an error: {said}")


def _broke(e: vendor.RedisError) -> bool:
    """Whether the connection broke or could not be made; wrong credentials are a ConnectionError to redis-py, too."""
    person = (vendor.AuthenticationError, vendor.AuthorizationError)
    return isinstance(e, vendor.ConnectionError) and not isinstance(e, person)


def check(url: str) -> None:
    """Ask a server, patiently for 5 s, whether it can hold a queue. Raises Unreachable, Refused, UsageError."""
    server = Server(url, retries=0, socket_timeout=CONNECT_TIMEOUT)
    try:
        info: Any = server.call(lambda r: r.info())
        refuse_unfit(server.address.name, info)
    finally:
        server.close()


def refuse_unfit(name: str, info: Mapping[str, Any]) -> None:
    """The decision alone, on what INFO says. Raises Refused. (INFO has the policy also where CONFIG is forbidden.)"""
    version = str(info.get("redis_version", "0"))
    if tuple(int(n) for n in version.split(".")[:2]) < (6, 2):
        raise Refused(f"{name} is Redis {version}; HugeSync needs Redis 6.2 or newer, or Valkey")
    policy = info.get("maxmemory_policy")
    if policy is None:
        raise Refused(f"{name} does not tell its maxmemory-policy, which must be noeviction")
    limited = int(info.get("maxmemory", 0)) > 0
    if policy.startswith("allkeys") or (limited and policy != "noeviction"):
        raise Refused(
            f"{name} has maxmemory-policy {policy}: when its memory fills it deletes keys, and with one key a whole "
            "queue is gone without a word. Set it with: CONFIG SET maxmemory-policy noeviction"
        )


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
