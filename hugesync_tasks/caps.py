"""What a job, or every job together at one endpoint, may use: as written in the ledger, changed by ``hugesync limit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

from hugesync_tasks.spec import Options

_KINDS = {"bwlimit": int, "tpslimit": float, "jobs": int, "weight": int}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caps:
    """0 = no limit."""

    bwlimit: int = 0  # bytes per second, both ways together, over all processes
    tpslimit: float = 0.0  # requests per second; of an endpoint, for each prefix
    jobs: int = 0  # tasks at once
    weight: int = 1  # of a job among others on the same workers; an endpoint has none

    @classmethod
    def of(cls, options: Options) -> Caps:
        """As a job was submitted."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    def into(self, options: Options) -> Options:
        return replace(options, **{field.name: getattr(self, field.name) for field in fields(self)})

    def told(self, said: Mapping[str, object]) -> Caps:
        """With what the ledger (or job.json) says; what is not there stays."""
        heard = {name: kind(str(said[name])) for name, kind in _KINDS.items() if said.get(name) is not None}
        return replace(self, **heard)

    def wire(self) -> dict[str, str]:
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}

    def plain(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def endpoint_of(url: str) -> str:
    """The one spelling of an endpoint's URL: no credentials, no default port, no trailing slash, the host in lower case. Raises
    ValueError for what is no URL that requests go to."""
    try:
        split = urlsplit(url.strip())
        host, port = split.hostname, split.port
    except ValueError:
        host, port, split = None, None, urlsplit("")
    if split.scheme not in _PORTS or not host:
        raise ValueError("an endpoint is the URL that requests go to, such as https://s3.eu-west-1.amazonaws.com")
    where = f"[{host}]" if ":" in host else host
    given = "" if port is None or port == _PORTS[split.scheme] else f":{port}"
    return f"{split.scheme}://{where}{given}{split.path.rstrip('/')}"
