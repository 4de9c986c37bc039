"""Addresses of Redis: which are accepted, and how they are shown without their secrets."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

SCHEMES = ("redis", "rediss", "redis+socket", "unix")
_SOCKETS = ("redis+socket", "unix")
_HIDDEN = "***"


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


def redact(value: str) -> str:
    """The same address with every password, also one in the query, replaced by ``***``."""
    url = urlsplit(value)
    user, at, host = url.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = urlencode(
        [(k, _HIDDEN if "password" in k.lower() else v) for k, v in parse_qsl(url.query, keep_blank_values=True)],
        safe="*/",
        quote_via=quote,
    )
    netloc = f"{name}{colon}{_HIDDEN if colon else ''}{at}{host}"
    return urlunsplit(("", "", "", "", "")) if not value else _join(url.scheme, netloc, url.path, query, url.fragment)


def _join(scheme: str, netloc: str, path: str, query: str, fragment: str) -> str:
    # urlunsplit drops the empty authority of schemes that it does not know (``unix:///x`` → ``unix:/x``)
    return f"{scheme}://{netloc}{path}" + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")
