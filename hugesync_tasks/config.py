"""What is set, and where it came from: command line > environment > configuration file > defaults.

This module and ``config_model`` are the only ones that read ``HUGESYNC_*``, the ``XDG_*`` folders and the configuration file.
A key that is not a field of ``Settings`` is an error that names it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from hugesync_tasks.config_model import ENV_PREFIX, TABLES, FileSource, Settings
from hugesync_tasks.config_places import config_file
from hugesync_tasks.config_words import option_help, show
from hugesync_tasks.errors import UsageError

__all__ = ["Provenance", "Settings", "config_file", "environment", "load", "log_format", "option_help", "provenance"]

TEST_PREFIX = ENV_PREFIX + "TEST_"  # knobs of the test suite; the product never reads them
_COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Provenance:
    """One line of ``hugesync config``."""

    key: str
    value: str  # as it would be written in the environment, secrets replaced
    source: str  # "command line", the variable's name, the file's path, or "default"


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str  # "" = the environment: each key has a variable of its own
    values: Mapping[str, Any]

    def source(self, key: str) -> str:
        return self.name or ENV_PREFIX + key.upper()


def load(cli: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings. ``cli``: key → value of the options that were given; a value of None = not given.

    Raises UsageError naming every unknown key and every bad value, and where each stands.
    """
    return _read(cli)[0]


def provenance(cli: Mapping[str, Any] | None = None) -> list[Provenance]:
    """Every key in the model's order with its effective value and where that came from. ``cli`` and errors as ``load``."""
    settings, layers = _read(cli)
    return [Provenance(key, show(key, getattr(settings, key)), _source(key, layers)) for key in Settings.model_fields]


def log_format(asked: str | None = None) -> str:
    """The format of logs that ``asked`` (the option), the environment or the file wants; "text" where that cannot be told.

    Never raises: it is needed before the settings are known to be right, to say in that format what is wrong with them.
    """
    try:
        file = FileSource(Settings, toml_file=config_file())()
    except Exception:  # unreadable, no TOML, no home: ``load`` says so
        file = {}
    found = asked or EnvSettingsSource(Settings)().get("log_format") or file.get("log_format")
    return "json" if found == "json" else "text"


def environment(cli: Mapping[str, Any]) -> dict[str, str]:
    """The variables that mean the same as these options, for a child process. Holds secrets: for its environment only.

    ``load`` in that process gives what ``load(cli)`` gives here, except that an empty value counts as not set. Raises
    UsageError.
    """
    settings, layers = _read(cli)
    return {
        ENV_PREFIX + key.upper(): value if key.endswith("_url") else show(key, getattr(settings, key))
        for key, value in layers[0].values.items()
    }


def _read(cli: Mapping[str, Any] | None) -> tuple[Settings, list[_Layer]]:
    given = {key: value for key, value in (cli or {}).items() if value is not None}
    layers = [_Layer(_COMMAND_LINE, given), _environment(), _file()]
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise UsageError("; ".join(_sentence(detail, layers) for detail in error.errors())) from None
    return settings, layers


def _environment() -> _Layer:
    """Raises UsageError for a ``HUGESYNC_*`` variable that sets nothing: a typing error must not pass in silence."""
    known = {ENV_PREFIX + key.upper() for key in Settings.model_fields}
    unknown = [
        name
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX) and not name.startswith(TEST_PREFIX) and name not in known
    ]
    if unknown:
        raise UsageError("; ".join(f"unknown environment variable {name}{_hint(name, known)}" for name in unknown))
    return _Layer("", EnvSettingsSource(Settings)())


def _file() -> _Layer:
    path = config_file()
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a file")
        return _Layer(str(path), FileSource(Settings, toml_file=path)())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _source(key: str, layers: list[_Layer]) -> str:
    return next((layer.source(key) for layer in layers if key in layer.values), "default")


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _reason(key: str, detail: ErrorDetails) -> str:
    """What is wrong, in the units a person writes."""
    bounds = {"ge": "must be at least", "gt": "must be more than", "le": "must be at most", "lt": "must be less than"}
    for bound, words in bounds.items():
        if bound in detail.get("ctx", {}):
            return f"{words} {show(key, detail['ctx'][bound])}"
    kind = detail["type"]
    if kind.startswith("int_"):
        return "must be a whole number"
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}"
    if kind == "string_pattern_mismatch":
        return "must be 1 to 32 letters, digits, - or _" if key == "queue_prefix" else detail["msg"]
    reason = detail["msg"].removeprefix("Value error, ")
    return reason.replace("Input should be a valid", "must be a", 1)


def _sentence(detail: ErrorDetails, layers: list[_Layer]) -> str:
    if not detail["loc"]:  # of several keys together
        return detail["msg"].removeprefix("Value error, ")
    key = str(detail["loc"][0])
    where = _source(key, layers)
    if detail["type"] == "extra_forbidden":
        for table in TABLES:  # the prefix is the table's, and was written again in it
            if (written := key.removeprefix(f"{table}_")) != key and written.startswith(f"{table}_"):
                short = written.removeprefix(f"{table}_")
                return f"unknown key {written!r} in the table [{table}] of {where}; keys have no {table}_ in there: {short}"
        return f"unknown key {key!r} in {where}{_hint(key, list(Settings.model_fields))}"
    reason = _reason(key, detail)
    value = next((layer.values[key] for layer in layers if key in layer.values), None)  # as written, not as parsed
    # an address may hold a password, so it is named and never quoted
    quoted = (
        ""
        if key.endswith("_url") or repr(value) in reason
        else f" {str(value).lower() if isinstance(value, bool) else repr(value)}"
    )
    return f"bad value{quoted} of {key} ({where}): {reason}"
