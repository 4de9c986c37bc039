"""Where Google Cloud Storage is, and who asks: from a profile of HugeSync's own configuration, else from Google's own places."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from hugesync_tasks.errors import BadCredentials, NeedsPerson, UsageError
from hugesync_tasks.profiles import profile

_EMULATOR = "STORAGE_EMULATOR_HOST"
_ENVIRONMENT = (_EMULATOR, "API_ENDPOINT_OVERRIDE")  # in the order in which the SDK asks them
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class Place(NamedTuple):
    """What a profile says; "" = Google's own places decide."""

    endpoint: str = ""
    credentials: str = ""  # path of a key file
    project: str = ""


_PROFILE_KEYS = frozenset(Place._fields)


def place_of(profile_name: str) -> Place:
    """The place that a profile names; "" = none. Raises UsageError."""
    place = Place(**profile(profile_name, _PROFILE_KEYS)) if profile_name else Place()
    if place.endpoint and (flaw := _flaw(place.endpoint)):
        raise UsageError(f"profile {profile_name!r}: endpoint {flaw}")
    return place


def check_endpoint(place: Place) -> None:
    """Raises NeedsPerson where requests could go nowhere, or a secret would stand in every one of them."""
    named, endpoint = _decided(place)
    if endpoint and (flaw := _flaw(endpoint)):
        raise NeedsPerson(f"{named} {flaw}")


def credentials_of(place: Place) -> tuple[Any, str | None]:
    """Credentials and project. Real ones never for an emulator or an endpoint without TLS, whoever names them: who listens
    there could use them elsewhere. Raises BadCredentials and google-auth's errors."""
    import google.auth
    from google.auth import credentials as kinds

    named, endpoint = _decided(place)
    if named == _EMULATOR or (endpoint and not is_tls(endpoint)):
        return cast(Any, kinds).AnonymousCredentials(), None
    if place.credentials:
        return _of_file(place.credentials, [_SCOPE]), None
    found, project = google.auth.default(scopes=[_SCOPE])
    return found, project


def check_shown(credentials: Any, endpoint: str) -> None:
    """The last word, at the endpoint that the SDK came to. Raises BadCredentials."""
    from google.auth.credentials import AnonymousCredentials

    if not is_tls(endpoint) and not isinstance(credentials, AnonymousCredentials):
        raise BadCredentials("the endpoint has no TLS: credentials are not shown to it")


def is_tls(endpoint: str) -> bool:
    return endpoint.lower().startswith("https://")


def _decided(place: Place) -> tuple[str, str]:
    """Who names the endpoint, and which; "" where nobody does and it is Google's."""
    if place.endpoint:
        return "the profile's endpoint", place.endpoint
    return next(((name, value) for name in _ENVIRONMENT if (value := os.environ.get(name))), ("", ""))


def _flaw(endpoint: str) -> str:
    """What is wrong with it, without a word of it: "" where nothing is."""
    try:
        parts = urlsplit(endpoint)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
    if not whole:
        return "must be a URL that begins with https:// (or http://, of an emulator)"
    more = "@" in parts.netloc or "?" in endpoint or "#" in endpoint
    return "must be a URL without user, password, query or fragment" if more else ""


def _of_file(path: str, scopes: list[str]) -> Any:
    """The credentials of a key file that the user's own configuration names."""
    import google.auth
    from google.oauth2 import credentials as of_users
    from google.oauth2 import service_account

    try:
        with open(path, encoding="utf-8") as file:
            kind = str(json.load(file)["type"])
        if kind == "service_account":
            made: Any = service_account.Credentials
            return made.from_service_account_file(path, scopes=scopes)
        if kind == "authorized_user":
            made = of_users.Credentials
            return made.from_authorized_user_file(path, scopes=scopes)
        load: Any = google.auth.load_credentials_from_file
        return load(path, scopes=scopes)[0]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise BadCredentials(f"cannot read the key file {path}") from exc
