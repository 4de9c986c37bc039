"""SharedKey and SAS, checked as the service does ("Authorize with Shared Key", "Create a service SAS", "Create an account SAS").

A user delegation SAS is refused: nobody here holds such a key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from strict_azure_checks import Refused

_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date", "if-modified-since",
    "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_SKEW = 15 * 60.0


def parse_query(raw: str) -> dict[str, str]:
    """Names in lower case, values decoded; a ``+`` is a ``+``, as Azure has it. A name given twice is joined by commas."""
    found: dict[str, list[str]] = {}
    for pair in filter(None, raw.split("&")):
        name, _, value = pair.partition("=")
        found.setdefault(unquote(name).lower(), []).append(unquote(value))
    return {name: ",".join(sorted(values)) for name, values in found.items()}


def _hmac(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def check_version(headers: Mapping[str, str], query: Mapping[str, str]) -> None:
    """A signed request says the version of the service it was written for, or its SAS does."""
    signed = "authorization" in headers or "sig" in query
    if signed and not re.match(r"\d{4}-\d\d-\d\d\Z", headers.get("x-ms-version", query.get("sv", ""))):
        raise Refused(400, "MissingRequiredHeader", HeaderName="x-ms-version")


class Authority:
    """Knows one account and its key. ``now`` judges the dates of a SAS; the date of a request is judged by real time."""

    def __init__(self, account: str, key: str, now: Callable[[], float]) -> None:
        self.account, self.key, self.now = account, key, now

    def check_request(self, method: str, raw_path: str, raw_query: str, headers: Mapping[str, str], need: str) -> None:
        """``need``: permissions of which a SAS must have one. Raises Refused (400, 401, 403)."""
        query = parse_query(raw_query)
        if "authorization" in headers:
            self._check_shared_key(method, raw_path, query, headers)
        elif "sig" in query:
            self.check_sas(raw_path, query, need)
        else:
            raise Refused(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")

    def _check_shared_key(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        form = re.match(r"SharedKey ([^:]+):(\S+)\Z", headers["authorization"])
        if not form:
            raise Refused(400, "InvalidAuthenticationInfo")
        if form[1] != self.account:
            raise Refused(403, "AuthenticationFailed", AuthenticationErrorDetail="unknown account")
        self._check_date(headers.get("x-ms-date") or headers.get("date"))
        texts = [self._to_sign(method, path, query, headers, order) for order in (str, _culture_order)]
        if not any(hmac.compare_digest(_hmac(self.key, text).encode(), form[2].encode("latin-1")) for text in texts):
            detail = (
                f"The MAC signature found in the HTTP request is not the same as any computed signature. {texts[0]!r}"
            )
            raise Refused(403, "AuthenticationFailed", AuthenticationErrorDetail=detail)

    def _to_sign(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], order: Callable[[str], str]
    ) -> str:
        fixed = {**headers, "content-length": headers.get("content-length", "").lstrip("0")}
        if "x-ms-date" in headers:
            fixed["date"] = ""
        lines = [method, *(fixed.get(name, "") for name in _SIGNED)]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers, key=order) if name.startswith("x-ms-")]
        lines.append(f"/{self.account}{path}")
        lines += [f"{name}:{query[name]}" for name in sorted(query)]
        return "\n".join(lines)

    def _check_date(self, value: str | None) -> None:
        try:
            at = parsedate_to_datetime(value or "").timestamp()
        except ValueError:
            raise Refused(
                403, "AuthenticationFailed", AuthenticationErrorDetail="x-ms-date or Date is missing"
            ) from None
        if abs(at - time.time()) > _SKEW:
            raise Refused(403, "AuthenticationFailed", AuthenticationErrorDetail="Request date header too old")

    def check_sas(self, raw_path: str, query: Mapping[str, str], need: str) -> None:
        """A SAS for ``/account/container[/blob]``. Raises Refused (403)."""
        get = lambda name: query.get(name, "")  # noqa: E731
        container, _, blob = unquote(raw_path).lstrip("/").removeprefix(self.account).lstrip("/").partition("/")
        scope = [get("ses")] if get("sv") >= "2020-12-06" else []
        if get("sv") < "2018-11-09" or "skoid" in query:
            raise _failed("This kind of SAS is not known here.")
        if "ss" in query:
            text = [
                self.account,
                get("sp"),
                get("ss"),
                get("srt"),
                get("st"),
                get("se"),
                get("sip"),
                get("spr"),
                get("sv"),
            ]
            text += [*scope, ""]
            if "b" not in get("ss") or ("o" if blob else "c") not in get("srt"):
                raise Refused(403, "AuthorizationResourceTypeMismatch")
        else:
            if get("sr") not in ("b", "c") or (get("sr") == "b" and not blob):
                raise _failed("sr does not fit the resource.")
            resource = f"/blob/{self.account}/{container}" + (f"/{blob}" if get("sr") == "b" else "")
            text = [get("sp"), get("st"), get("se"), resource, get("si"), get("sip"), get("spr"), get("sv"), get("sr")]
            text += [get("snapshot"), *scope, *(get(name) for name in ("rscc", "rscd", "rsce", "rscl", "rsct"))]
        if not hmac.compare_digest(_hmac(self.key, "\n".join(text)).encode(), get("sig").encode()):
            raise _failed("Signature did not match.")
        if self.now() >= _moment(get("se")) or (get("st") and self.now() < _moment(get("st"))):
            raise _failed("Signature not valid in the specified time frame.")
        if get("spr") == "https":
            raise Refused(403, "AuthorizationProtocolMismatch")
        if not set(need) & set(get("sp")):
            raise Refused(403, "AuthorizationPermissionMismatch")


def _failed(detail: str) -> Refused:
    return Refused(403, "AuthenticationFailed", AuthenticationErrorDetail=detail)


def _moment(value: str) -> float:
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d"):
        try:
            return datetime.strptime(value, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise _failed("se or st is not a time.")


def _culture_order(name: str) -> str:
    """The SDK signs in the order of .NET's invariant culture: hyphens do not count, an underscore comes before digits."""
    return name.replace("-", "").replace("_", "\0")
