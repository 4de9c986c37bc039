"""Addresses of Redis: which are accepted in the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

SCHEMES = ("redis", "rediss", "redis+socket", "unix")
_SOCKETS = ("redis+socket", "unix")


def check_redis_url(value: object) -> object:
    """The address itself when it can be one. Raises ValueError that never quotes it: it may hold a password."""
    if not isinstance(value, str) or not value:
        return value
    try:
        url = urlsplit(value)
        url.port  # noqa: B018 - raises ValueError where it is not a number
    except ValueError:
        raise ValueError("not an address of Redis; the port must be a number and brackets must match") from None
    if url.scheme not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if url.scheme in _SOCKETS and not url.path.startswith("/"):
        raise ValueError(f"{url.scheme}:// needs the absolute path of a socket")
    if url.scheme not in _SOCKETS and not url.hostname:
        raise ValueError(f"{url.scheme}:// needs a host")
    return value
