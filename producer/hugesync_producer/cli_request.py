"""From what was typed to the values a job is made of. Contradictions are refused here, by name, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hugesync_producer.cli_inputs import Inputs, filter_rules, names_of
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Options, Rules, Selection

if TYPE_CHECKING:
    from hugesync_producer.namelist import NameList
    from hugesync_tasks.config import Settings

Given = Mapping[str, Any]  # the parameters of a click command

_SETTINGS = {
    "broker": "broker_url",
    "state": "state_url",
    "jobs": "jobs",
    "bwlimit": "bwlimit",
    "memory": "memory",
    "retries": "retries",
    "retry_max_wait": "retry_max_wait",
    "conflict_retries": "conflict_retries",
    "stall_timeout": "stall_timeout",
    "modify_window": "modify_window",
    "log_format": "log_format",
}
_CONTRADICTIONS = (
    ("quiet", "verbose"),
    ("copy_links", "skip_links"),
    ("inplace", "whole_file"),
    ("inplace", "unsafe_no_conflict_check"),
    ("backup_dir", "inplace"),
    ("backup_dir", "unsafe_no_conflict_check"),
    ("no_metadata", "archive"),
    ("no_metadata", "owner"),
    ("no_metadata", "group"),
    ("no_metadata", "dir_metadata"),
    ("files_from", "files_from0"),
    ("files_from", "preflight"),
    ("files_from0", "preflight"),
    ("files_from", "auto"),
    ("files_from0", "auto"),
    ("files_from", "delete"),
    ("files_from0", "delete"),
    ("detach", "dry_run"),
    ("detach", "verbose"),
    ("detach", "events"),
    ("detach", "log_file"),
    ("detach", "itemize"),
    ("detach", "exposed"),
    ("quiet", "itemize"),
    ("fail_on_conflict", "on_conflict"),
    ("fail_on_conflict", "unsafe_no_conflict_check"),
)


def settings_given(given: Given) -> dict[str, Any]:
    """Configuration keys set on the command line; the others come from the environment, the file or the defaults."""
    return {key: given[option] for option, key in _SETTINGS.items() if given.get(option) is not None}


def refuse_contradictions(given: Given) -> None:
    """Raises UsageError where two options cannot both be meant."""
    refuse_pairs(given)
    if given["estimate"] and not given["dry_run"]:
        raise UsageError("--estimate is of a dry run: give -n too")
    for option in ("preflight", "auto"):
        if given[option] and given["dry_run"]:
            raise UsageError(
                f"{_option(option)} writes at DEST to measure it, and a dry run does not: hugesync preflight measures"
            )
    for option in ("delete_excluded", "max_delete"):
        if given[option] and not given["delete"]:
            raise UsageError(f"{_option(option)} is of --delete: give that too")
    if given["verify"] == "transferred" and given["dry_run"]:
        raise UsageError("--verify transferred reads back what was sent, and a dry run sends nothing")
    if given["on_conflict"] == "keep-both" and given["unsafe_no_conflict_check"]:
        raise UsageError(
            "--on-conflict keep-both and --unsafe-no-conflict-check contradict each other: no conflict is seen"
        )
    if given["conflict_retries"] is not None and (given["on_conflict"] == "skip" or given["fail_on_conflict"]):
        raise UsageError(
            "--conflict-retries is of --on-conflict retry and keep-both: with the others nothing is tried again"
        )
    if given["whole_file"] and given["signature_missing"] != "auto":
        raise UsageError("--signature-missing is of sending what changed, and with -W every file goes whole")
    if given["owner"] != given["group"] and not given["archive"]:
        raise UsageError("-o and -g go together: owner and group are kept both, or neither")


def refuse_pairs(given: Given) -> None:
    """Of the options that a command has, those that contradict each other. Raises UsageError."""
    for one, other in _CONTRADICTIONS:
        if given.get(one) and given.get(other):
            raise UsageError(f"{_option(one)} and {_option(other)} contradict each other; give one of them")
    if given.get("itemize") and given.get("as_json"):
        raise UsageError(
            "-i prints lines on stdout, where --json has one object: give --events FILE, which holds the same"
        )


def refuse_without_fleet(given: Given, settings: Settings) -> None:
    """Raises UsageError for what only a fleet can do."""
    if given["detach"] and not settings.broker_url:
        raise UsageError("--detach needs a fleet that goes on with the job: give --broker URL, or HUGESYNC_BROKER_URL")


def rules_of(given: Given, settings: Settings) -> Rules:
    return Rules(
        modify_window_ns=round(settings.modify_window * 1_000_000_000),
        size_only=given["size_only"],
        checksum=given["checksum"],
        update=given["update"],
        ignore_existing=given["ignore_existing"],
        existing=given["existing"],
        ignore_times=given["ignore_times"],
    )


@contextmanager
def chosen(given: Given, filters: Iterable[tuple[str, str]]) -> Iterator[tuple[Selection, NameList | None]]:
    """The selection, and the list of names until the block ends. Raises UsageError."""
    inputs = Inputs()
    selection = selection_of(given, filters, inputs)
    with names_of(given, inputs) as names:
        yield selection, names


def selection_of(given: Given, filters: Iterable[tuple[str, str]], inputs: Inputs | None = None) -> Selection:
    """``filters``: (option, value) in the order typed. Raises UsageError for a bad size or an unreadable file."""
    low, high = _limit("min_size", given), _limit("max_size", given)
    if low is not None and high is not None and low > high:
        raise UsageError(f"--min-size {given['min_size']} is more than --max-size {given['max_size']}: nothing is left")
    return Selection(
        filters=filter_rules(filters, inputs or Inputs()),
        min_size=low,
        max_size=high,
        links="follow" if given["copy_links"] else "skip" if given["skip_links"] else "keep",
    )


def options_of(given: Given, settings: Settings) -> Options:
    """Raises UsageError for what only a worker of the fleet can keep."""
    _refuse_memory_of_others(given, settings)
    return Options(
        jobs=settings.jobs,
        bwlimit=settings.bwlimit,
        metadata=not given["no_metadata"],
        owner=given["archive"] or (given["owner"] and given["group"]),
        dir_metadata=given["dir_metadata"],
        storage_class=given["storage_class"],
        sse_kms_key=given["sse_kms_key"],
        retries=settings.retries,
        retry_max_wait=settings.retry_max_wait,
        max_duration=_duration("max_duration", given),
        conflict_retries=settings.conflict_retries,
        on_conflict="fail" if given["fail_on_conflict"] else given["on_conflict"] or "retry",
        unsafe_no_conflict_check=given["unsafe_no_conflict_check"],
        memory=settings.memory,
        part_size=settings.part_size,
        stall_timeout=settings.stall_timeout,
        start_timeout=settings.start_timeout,
        whole_file=given["whole_file"],
        sidecars=not given["no_sidecar"],
        inplace=given["inplace"],
        estimate=given["estimate"],
        verify=given["verify"],
        **_delta_options(given),
        **_delete_options(given),
    )


def _delete_options(given: Given) -> dict[str, Any]:
    from hugesync_producer.deleterules import MaxDelete

    out: dict[str, Any] = {"delete": given["delete"], "delete_excluded": given["delete_excluded"]}
    if given["max_delete"] is not None:
        out["max_delete"] = MaxDelete.parse(given["max_delete"]).text
    if given["backup_dir"]:
        out["backup_dir"] = _folder_below("--backup-dir", given["backup_dir"])
    return out


def _folder_below(option: str, text: str) -> str:
    """The key of a folder below DEST, as typed by a person. Raises UsageError."""
    from hugesync_tasks.names import encode_name, is_ours, not_on_filesystem

    key = encode_name(os.fsencode(text)).rstrip("/") + "/"
    if text.startswith("/") or key == "/" or not_on_filesystem(key):
        raise UsageError(f"{option} {text}: give a folder by its path below DEST, such as old/2025-01-31")
    if is_ours(key):
        raise UsageError(f"{option} {text}: reserved name: a part of it begins with .hugesync")
    return key


def comparing_options_of(given: Given, settings: Settings) -> Options:
    """Of a job that only compares. Raises as ``options_of``."""
    _refuse_memory_of_others(given, settings)
    return Options(
        jobs=settings.jobs,
        bwlimit=settings.bwlimit,
        retries=settings.retries,
        retry_max_wait=settings.retry_max_wait,
        max_duration=_duration("max_duration", given),
        memory=settings.memory,
        part_size=settings.part_size,
        stall_timeout=settings.stall_timeout,
        start_timeout=settings.start_timeout,
    )


def sample_of(text: str) -> float:
    """Percent, from ``10%`` or ``10``. Raises UsageError."""
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise UsageError(f"--sample {text}: write a percentage of the files, such as 10%")
    return percent


def _refuse_memory_of_others(given: Given, settings: Settings) -> None:
    if given.get("memory") is not None and settings.broker_url:
        raise UsageError("with a broker --memory is each worker's own: give it to hugesync-worker")


def _delta_options(given: Given) -> dict[str, Any]:
    from hugesync_producer.cli_delta import block_size_of

    threshold, prefix = _size("delta_threshold", given), given["sidecar_prefix"]
    if prefix and (not prefix.endswith("/") or prefix.startswith("/") or ".." in prefix.split("/")):
        raise UsageError(f"--sidecar-prefix {prefix}: write a prefix below DEST that ends in /")
    out: dict[str, Any] = {
        "block_size": block_size_of(given["block_size"] or "auto") or 0,
        "signature_missing": given["signature_missing"],
        "sidecar_prefix": prefix,
    }
    if threshold is not None:
        out["delta_threshold"] = threshold
    return out


def _size(name: str, given: Given) -> int | None:
    if given[name] is None:
        return None
    from hugesync_tasks.config_units import parse_size

    try:
        return parse_size(given[name])
    except ValueError as error:
        raise UsageError(f"{_option(name)}: {error}") from error


def _limit(name: str, given: Given) -> int | None:
    """A size that may end in +1 or -1, as rsync's: one byte more or less."""
    text = given[name] or ""
    step = {"+1": 1, "-1": -1}.get(text[-2:], 0) if len(text) > 2 else 0
    size = _size(name, {name: text[:-2]} if step else given)
    if size is not None and size + step < 0:
        raise UsageError(f"{_option(name)}: {text} is less than nothing")
    return None if size is None else size + step


def _duration(name: str, given: Given) -> float:
    """Seconds; 0 where it was not given. Raises UsageError."""
    if given.get(name) is None:
        return 0.0
    from hugesync_tasks.config_units import parse_duration

    try:
        return parse_duration(given[name])
    except ValueError as error:
        raise UsageError(f"{_option(name)}: {error}") from error


def _option(name: str) -> str:
    names = {"itemize": "--itemize-changes", "exposed": "--metrics-port"}
    return names.get(name) or "--" + name.replace("_", "-")
