"""The commands: every option arrives where it belongs, every outcome has its exit code, one sentence and one JSON object."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hugesync_producer import cli, cli_jobs
from hugesync_tasks import errors
from hugesync_tasks.caps import Caps
from hugesync_tasks.config_words import default_text
from hugesync_tasks.spec import Options, Rules, Selection
from hugesync_tasks.summary import FILES, Failure, JobLine, Snapshot, State, Summary

DONE = Summary(State.DONE, "job1", scan_complete=True, files={"found": 2, "done": 2}, bytes={"found": 9, "done": 9})


class FakeLibrary:
    """Stands for ``hugesync_producer.sync`` and ``.jobs``: records its calls, then does what the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.outcome: Callable[[Any], Summary] = lambda observer: DONE

    def sync(self, *args: Any, **kwargs: Any) -> Summary:
        self.calls.append(("sync", args, kwargs))
        return self.outcome(kwargs["observer"])

    def verify(self, *args: Any, **kwargs: Any) -> Summary:
        self.calls.append(("verify", args, kwargs))
        return self.outcome(kwargs["observer"])

    def resume(self, job_id: str, settings: Any, observer: Any) -> Summary:
        self.calls.append(("resume", (job_id, settings), {}))
        return self.outcome(observer)

    def watch(self, job_id: str, settings: Any, observer: Any) -> Summary:
        self.calls.append(("watch", (job_id, settings), {}))
        return self.outcome(observer)

    def cancel(self, job_id: str, settings: Any) -> None:
        self.calls.append(("cancel", (job_id, settings), {}))

    def limit(self, job_id: str, settings: Any, said: dict[str, str]) -> Caps:
        self.calls.append(("limit", (job_id, settings, said), {}))
        return Caps(weight=2).told(said)

    def limit_endpoint(self, url: str, settings: Any, said: dict[str, str]) -> Caps:
        self.calls.append(("limit_endpoint", (url, settings, said), {}))
        return Caps().told(said)

    def limits(self, settings: Any) -> tuple[dict[str, Caps], dict[str, Caps]]:
        self.calls.append(("limits", (settings,), {}))
        return {"job1": Caps(jobs=3, weight=4)}, {"https://s3.example": Caps(tpslimit=0.5)}

    def list_jobs(self, settings: Any) -> list[JobLine]:
        self.calls.append(("list_jobs", (settings,), {}))
        return [JobLine("job1", State.INTERRUPTED, 0.0, "/a\nb", "s3://b/p/", resumable=True)]

    def status(self, job_id: str, settings: Any) -> dict[str, Any]:
        self.calls.append(("status", (job_id, settings), {}))
        if job_id != "job1":
            raise errors.UsageError(f"there is no job {job_id}")
        from hugesync_producer.report import to_json

        failures = tuple(Failure(f"f{i}", errors.FailureClass.PERMANENT, "no") for i in range(12))
        counted = {"found": 12, "failed": 12}
        summary = Summary(State.DONE_WITH_ERRORS, "job1", files=counted, failures=failures)
        return {**to_json(summary), "source": "/a", "dest": "/b", "started": 0.0, "resumable": True}

    @property
    def request(self) -> dict[str, Any]:
        return self.calls[-1][2]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeLibrary]:
    fake = FakeLibrary()
    for module in ("sync", "jobs", "verify", "limiting"):
        stand_in = types.ModuleType(f"hugesync_producer.{module}")
        for name in (
            "sync",
            "verify",
            "resume",
            "watch",
            "cancel",
            "limit",
            "limit_endpoint",
            "limits",
            "list_jobs",
            "status",
        ):
            setattr(stand_in, name, getattr(fake, name))
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    for name in [n for n in os.environ if n.startswith("HUGESYNC_") and not n.startswith("HUGESYNC_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield fake
    root.handlers[:], root.level = handlers, level


def submit(*args: str) -> int:
    return cli.invoke(cli.submit_command, cli.SUBMIT, list(args))


def hugesync(*args: str) -> int:
    return cli.invoke(cli_jobs.hugesync_commands, "hugesync", list(args))


def only_object(stdout: str) -> dict[str, Any]:
    (line,) = stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


# --- every option reaches the library ---------------------------------------------------------------------------------

OPTIONS: list[tuple[list[str], str, dict[str, Any]]] = [
    (["-c"], "rules", {"checksum": True}),
    (["--checksum"], "rules", {"checksum": True}),
    (["-u"], "rules", {"update": True}),
    (["--update"], "rules", {"update": True}),
    (["--size-only"], "rules", {"size_only": True}),
    (["--ignore-existing"], "rules", {"ignore_existing": True}),
    (["--existing"], "rules", {"existing": True}),
    (["-I"], "rules", {"ignore_times": True}),
    (["--ignore-times"], "rules", {"ignore_times": True}),
    (["--modify-window", "1ms"], "rules", {"modify_window_ns": 1_000_000}),
    (["--modify-window", "2"], "rules", {"modify_window_ns": 2_000_000_000}),
    (["--exclude", "*.o"], "selection", {"filters": (("-", "*.o"),)}),
    (["--include", "*.c"], "selection", {"filters": (("+", "*.c"),)}),
    (["-f", "H_*.o"], "selection", {"filters": (("-s", "*.o"),)}),
    (["--filter", "P,p *.o"], "selection", {"filters": (("-pr", "*.o"),)}),
    (["--min-size", "10K"], "selection", {"min_size": 10240}),
    (["--min-size", "1.5mb-1"], "selection", {"min_size": 1499999}),
    (["--max-size", "1.5GiB"], "selection", {"max_size": 3 << 29}),
    (["--max-size", "2g+1"], "selection", {"max_size": (2 << 30) + 1}),
    (["--max-size", "0"], "selection", {"max_size": 0}),
    (["-L"], "selection", {"links": "follow"}),
    (["--copy-links"], "selection", {"links": "follow"}),
    (["--skip-links"], "selection", {"links": "skip"}),
    (["-a"], "options", {"owner": True}),
    (["--archive"], "options", {"owner": True}),
    (["-o", "-g"], "options", {"owner": True}),
    (["--owner", "--group"], "options", {"owner": True}),
    (["--no-metadata"], "options", {"metadata": False}),
    (["--dir-metadata"], "options", {"dir_metadata": True}),
    (["--storage-class", "GLACIER_IR"], "options", {"storage_class": "GLACIER_IR"}),
    (["--sse-kms-key", "alias/k"], "options", {"sse_kms_key": "alias/k"}),
    (["-j", "7"], "options", {"jobs": 7}),
    (["--jobs", "7"], "options", {"jobs": 7}),
    (["--memory", "1GiB"], "options", {"memory": 1 << 30}),
    (["--bwlimit", "10M"], "options", {"bwlimit": 10 << 20}),
    (["--bwlimit", "off"], "options", {}),
    (["--tpslimit", "10"], "options", {"tpslimit": 10.0}),
    (["--tpslimit", "off"], "options", {}),
    (["--weight", "4"], "options", {"weight": 4}),
    (["--retries", "9"], "options", {"retries": 9}),
    (["--retry-max-wait", "5s"], "options", {"retry_max_wait": 5.0}),
    (["--max-duration", "1h30m"], "options", {"max_duration": 5400.0}),
    (["--conflict-retries", "0"], "options", {"conflict_retries": 0}),
    (["--on-conflict", "skip"], "options", {"on_conflict": "skip"}),
    (["--on-conflict", "retry"], "options", {"on_conflict": "retry"}),
    (["--on-conflict", "keep-both"], "options", {"on_conflict": "keep-both"}),
    (["--fail-on-conflict"], "options", {"on_conflict": "fail"}),
    (["--unsafe-no-conflict-check"], "options", {"unsafe_no_conflict_check": True}),
    (["--stall-timeout", "2m"], "options", {"stall_timeout": 120.0}),
    (["-W"], "options", {"whole_file": True}),
    (["--whole-file"], "options", {"whole_file": True}),
    (["--no-whole-file"], "options", {"whole_file": False}),
    (["--delta-threshold", "8MiB"], "options", {"delta_threshold": 8 << 20}),
    (["--block-size", "5MiB"], "options", {"block_size": 5 << 20}),
    (["--block-size", "auto"], "options", {"block_size": 0}),
    (["--signature-missing", "generate"], "options", {"signature_missing": "generate"}),
    (["--signature-missing", "full"], "options", {"signature_missing": "full"}),
    (["--inplace"], "options", {"inplace": True}),
    (["--no-sidecar"], "options", {"sidecars": False}),
    (["--sidecar-prefix", "sig/"], "options", {"sidecar_prefix": "sig/"}),
    (["-n", "--estimate"], "options", {"estimate": True}),
    (["--delete"], "options", {"delete": True}),
    (["--delete", "--delete-excluded"], "options", {"delete": True, "delete_excluded": True}),
    (["--delete", "--max-delete", "0"], "options", {"delete": True, "max_delete": "0"}),
    (["--delete", "--max-delete", "2.5%"], "options", {"delete": True, "max_delete": "2.5%"}),
    (["--backup-dir", "old/café"], "options", {"backup_dir": "old/café/"}),
    (["--verify", "none"], "options", {}),
    (["--verify", "transferred"], "options", {"verify": "transferred"}),
    (["--verify", "all"], "options", {"verify": "all"}),
]
DEFAULTS = {"rules": Rules(), "selection": Selection(), "options": Options()}


@pytest.mark.parametrize(
    ("args", "part", "expected"), OPTIONS, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_an_option_changes_its_value_and_nothing_else(
    library: FakeLibrary, args: list[str], part: str, expected: dict[str, Any]
) -> None:
    assert submit(*args, "/src", "/dst") == 0

    for name, default in DEFAULTS.items():
        changed = {f: getattr(library.request[name], f) for f in default.__slots__}
        wanted = {f: getattr(default, f) for f in default.__slots__} | (expected if name == part else {})
        assert changed == wanted


@pytest.mark.parametrize(
    ("args", "name", "expected"),
    [
        (["-n"], "dry_run", True),
        (["--dry-run"], "dry_run", True),
        (["--fresh"], "fresh", True),
        (["--broker", "redis://fleet/1", "--detach"], "detach", True),
        (["--source-profile", "here"], "source_profile", "here"),
        (["--dest-profile", "there"], "dest_profile", "there"),
        (["--map", "names.csv"], "map_file", ("names.csv", "")),
        (["--map", "names.db", "--map-query", "SELECT a, b FROM t"], "map_file", ("names.db", "SELECT a, b FROM t")),
    ],
)
def test_an_option_is_passed_on(library: FakeLibrary, args: list[str], name: str, expected: Any) -> None:
    assert submit("/src", "/dst") == 0
    assert library.request[name] != expected

    assert submit(*args, "/src", "/dst") == 0
    assert library.request[name] == expected


@pytest.mark.parametrize(
    ("args", "key", "expected"),
    [
        (["--broker", "redis://fleet/1"], "broker_url", "redis://fleet/1"),
        (["--state", "redis://ledger/2"], "state_url", "redis://ledger/2"),
        (["--log-format", "json"], "log_format", "json"),
        (["-j", "3"], "jobs", 3),
        (["--memory", "256MiB"], "memory", 256 << 20),
    ],
)
def test_an_option_becomes_a_setting(library: FakeLibrary, args: list[str], key: str, expected: Any) -> None:
    assert submit(*args, "/src", "/dst") == 0
    assert getattr(library.request["settings"], key) == expected


VERIFY: list[tuple[list[str], str, Any]] = [
    (["--sample", "10%"], "sample", 10.0),
    (["--sample", "0.5"], "sample", 0.5),
    (["--one-way"], "one_way", True),
    (["--exclude", "*.o"], "selection", Selection(filters=(("-", "*.o"),))),
    (["--include", "*.c", "--exclude", "*"], "selection", Selection(filters=(("+", "*.c"), ("-", "*")))),
    (["-f", "H a"], "selection", Selection(filters=(("-s", "a"),))),
    (["--filter", "S a"], "selection", Selection(filters=(("+s", "a"),))),
    (["--min-size", "10K"], "selection", Selection(min_size=10240)),
    (["--max-size", "10K"], "selection", Selection(max_size=10240)),
    (["-L"], "selection", Selection(links="follow")),
    (["--copy-links"], "selection", Selection(links="follow")),
    (["--skip-links"], "selection", Selection(links="skip")),
    (["-j", "7"], "options", Options(jobs=7)),
    (["--jobs", "7"], "options", Options(jobs=7)),
    (["--memory", "1GiB"], "options", Options(memory=1 << 30)),
    (["--bwlimit", "1.5MiB"], "options", Options(bwlimit=3 << 19)),
    (["--tpslimit", "0.5"], "options", Options(tpslimit=0.5)),
    (["--weight", "2"], "options", Options(weight=2)),
    (["--retries", "9"], "options", Options(retries=9)),
    (["--retry-max-wait", "5s"], "options", Options(retry_max_wait=5.0)),
    (["--max-duration", "10"], "options", Options(max_duration=10.0)),
    (["--stall-timeout", "2m"], "options", Options(stall_timeout=120.0)),
    (["--source-profile", "here"], "source_profile", "here"),
    (["--dest-profile", "there"], "dest_profile", "there"),
    (["--fresh"], "fresh", True),
    (["--broker", "redis://fleet/1", "--detach"], "detach", True),
]


@pytest.mark.parametrize(("args", "name", "expected"), VERIFY, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_an_option_of_verify_changes_its_value_and_nothing_else(
    library: FakeLibrary, args: list[str], name: str, expected: Any
) -> None:
    assert hugesync("verify", "/src", "/dst") == 0
    plain = {n: v for n, v in library.request.items() if n not in ("observer", "settings")}
    assert hugesync("verify", *args, "/src", "s3://dst") == 0
    given = {n: v for n, v in library.request.items() if n not in ("observer", "settings")}
    assert given == {**plain, name: expected} != plain
    assert library.calls[-1][1] == ("/src", "s3://dst")


def test_every_parameter_of_verify_is_covered_by_a_test_of_its_effect() -> None:
    tested = {a for args, _, _ in VERIFY for a in args if a.startswith("-")}
    tested |= {"--exclude-from", "--include-from", "--broker", "--state", "--log-format", "--json", "-q", "--quiet"}
    tested |= {"--files-from", "--files-from0"}
    tested |= {"-v", "--verbose", "--debug", "--progress", "--no-progress", "-P", "--events", "--log-file"}
    command = cli_jobs.hugesync_commands.commands["verify"]
    declared = {name for p in command.params if isinstance(p, click.Option) for name in [*p.opts, *p.secondary_opts]}
    assert declared == tested


@pytest.mark.parametrize("sample", ["101%", "-1", "nan", "some"])
def test_a_sample_that_is_no_percentage_is_bad_usage(library: FakeLibrary, sample: str) -> None:
    assert hugesync("verify", "--sample", sample, "/src", "/dst") == 2
    assert not library.calls


def test_the_configuration_file_reaches_the_options_and_the_command_line_overrides_it(
    library: FakeLibrary, tmp_path: Path
) -> None:
    (tmp_path / "config" / "hugesync").mkdir(parents=True)
    (tmp_path / "config" / "hugesync" / "config.toml").write_text(
        'retries = 8\nmodify_window = "3s"\npart_size = "32MiB"\nstart_timeout = "5m"\n'
    )

    assert submit("--retries", "2", "/src", "/dst") == 0

    assert library.request["options"] == Options(retries=2, part_size=32 << 20, start_timeout=300.0)
    assert library.request["rules"].modify_window_ns == 3_000_000_000


def test_source_and_destination_are_passed_as_typed_even_when_they_look_like_options(library: FakeLibrary) -> None:
    assert submit("--", "-n", "s3://b/--json") == 0
    assert library.calls[-1][1] == ("-n", "s3://b/--json")


def test_every_parameter_of_the_command_is_covered_by_a_test_of_its_effect() -> None:
    tested = {a for args, _, _ in OPTIONS for a in args if a.startswith("-")}
    tested |= {
        "-n",
        "--dry-run",
        "--fresh",
        "--detach",
        "--source-profile",
        "--dest-profile",
        "--broker",
        "--state",
        "--log-format",
    }
    tested |= {"--exclude-from", "--include-from", "--json", "-q", "--quiet", "-v", "--verbose", "--debug", "--version"}
    tested |= {"--map", "--map-query"}  # above
    tested |= {"--progress", "--no-progress", "-P", "--events", "--log-file", "-i", "--itemize-changes"}
    tested |= {"--metrics-port"}  # test_exporter.py
    tested |= {"--files-from", "--files-from0"}
    tested |= {"--preflight", "--auto"}  # tests/test_preflight.py
    declared = {
        name for p in cli.submit_command.params if isinstance(p, click.Option) for name in [*p.opts, *p.secondary_opts]
    }
    assert declared == tested


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("memory", "memory"),
        ("bwlimit", "bwlimit"),
        ("tpslimit", "tpslimit"),
        ("weight", "weight"),
        ("retries", "retries"),
        ("conflict_retries", "conflict_retries"),
        ("stall_timeout", "stall_timeout"),
        ("modify_window", "modify_window"),
        ("log_format", "log_format"),
    ],
)
def test_the_default_that_help_names_is_the_default_in_force(option: str, key: str) -> None:
    (parameter,) = (p for p in cli.submit_command.params if p.name == option)
    assert isinstance(parameter, click.Option)
    assert parameter.help is not None
    assert parameter.help.endswith(f"[default: {default_text(key)}]")


# --- filters ----------------------------------------------------------------------------------------------------------


def test_filters_keep_the_order_in_which_they_were_typed_across_the_five_options(
    library: FakeLibrary, tmp_path: Path
) -> None:
    out, into, merged = tmp_path / "out", tmp_path / "in", tmp_path / "merged rules"
    merged.write_bytes(b"H m\xff\n- n\n")
    out.write_bytes(b"# comment\n; another\n\n*.tmp\r\n+ keep.tmp\n- caf\xc3\xa9 \xff\n")
    into.write_text("src/\n")

    assert submit("--include=a", "--exclude-from", str(out), "--exclude", "b", "--include-from", str(into), "-n",
                  "-f", f". {merged}", "--include", "c", "--filter=P p", "--exclude", "*", "/src", "/dst") == 0  # fmt: skip

    assert library.request["selection"].filters == (
        ("+", "a"), ("-", "*.tmp"), ("+", "keep.tmp"), ("-", "café ‛FF"), ("-", "b"), ("+", "src/"),
        ("-s", "m‛FF"), ("-", "n"), ("+", "c"), ("-r", "p"), ("-", "*"),
    )  # fmt: skip


def test_an_exclamation_mark_in_a_file_forgets_the_rules_before_it(library: FakeLibrary, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("a\n!\nb\n")

    assert submit("--exclude", "x", "--exclude-from", str(rules), "/src", "/dst") == 0

    assert library.request["selection"].filters == (("-", "b"),)


@pytest.mark.parametrize(
    ("option", "content", "names"),
    [("--files-from", b"#\nb\n./a\r\n", ["a", "b"]), ("--files-from0", b"#\0b\na\0", ["#", "b\na"])],
)
@pytest.mark.parametrize("command", [submit, lambda *args: hugesync("verify", *args)])
def test_a_list_of_names_reaches_the_library(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., int], option: str, content: bytes, names: list[str],
) -> None:  # fmt: skip
    seen: list[list[str]] = []

    def outcome(observer: Any) -> Summary:
        seen.append(list(library.request["files_from"]))
        return DONE

    library.outcome = outcome
    (tmp_path / "list").write_bytes(content)
    assert command(option, str(tmp_path / "list"), "/src", "/dst") == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert command(option, "-", "/src", "/dst") == 0
    assert seen == [names, names]
    assert not library.request["files_from"].path.exists()
    library.outcome = lambda observer: DONE
    assert command("/src", "/dst") == 0
    assert library.request["files_from"] is None


def test_standard_input_can_be_read_once(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert submit("--filter", "merge,- -", "/src", "/dst") == 0
    assert library.request["selection"].filters == (("-", "a"), ("-", "b"))
    assert submit("--exclude-from", "-", "--filter", ". -", "/src", "/dst") == 2
    assert submit("--exclude-from", "-", "--files-from", "-", "/src", "/dst") == 2


# --- bad usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["/src"], "DEST"),
        ([], "SOURCE"),
        (["/a", "/b", "/c"], "/c"),
        (["--chekcsum", "/a", "/b"], "--checksum"),
        (["--min-size", "big", "/a", "/b"], "--min-size"),
        (["--min-size", "1.2.3K", "/a", "/b"], "--min-size"),
        (["--min-size", "10X", "/a", "/b"], "--min-size"),
        (["--min-size", "", "/a", "/b"], "--min-size"),
        (["--min-size", "0-1", "/a", "/b"], "--min-size"),
        (["--max-size", "-1", "/a", "/b"], "--max-size"),
        (["--max-size", "1K+2", "/a", "/b"], "--max-size"),
        (["--files-from", "/does/not/exist", "/a", "/b"], "--files-from /does/not/exist"),
        (["--files-from", "x", "--files-from0", "y", "/a", "/b"], "--files-from0"),
        (["--files-from", "x", "--delete", "/a", "/b"], "--delete"),
        (["--files-from0", "x", "--delete", "/a", "/b"], "--delete"),
        (["--filter", "dir-merge .rules", "/a", "/b"], "dir-merge"),
        (["--filter", "-x user.*", "/a", "/b"], "extended attributes"),
        (["--filter", ". /does/not/exist", "/a", "/b"], "/does/not/exist"),
        (["--min-size", "2K", "--max-size", "1K", "/a", "/b"], "--max-size"),
        (["--memory", "lots", "/a", "/b"], "memory"),
        (["-j", "-3", "/a", "/b"], "jobs"),
        (["--retries", "none", "/a", "/b"], "retries"),
        (["--modify-window", "soon", "/a", "/b"], "modify_window"),
        (["--retry-max-wait", "-1s", "/a", "/b"], "retry_max_wait"),
        (["--max-duration", "soon", "/a", "/b"], "--max-duration"),
        (["--stall-timeout", "0", "/a", "/b"], "stall_timeout"),
        (["--bwlimit", "fast", "/a", "/b"], "bwlimit"),
        (["--bwlimit", "10K", "/a", "/b"], "the lowest rate is 64KiB/s"),
        (["--tpslimit", "many", "/a", "/b"], "tpslimit"),
        (["--tpslimit", "0.1", "/a", "/b"], "0.5 is the lowest"),
        (["--weight", "0", "/a", "/b"], "weight"),
        (["--log-format", "xml", "/a", "/b"], "log_format"),
        (["--on-conflict", "keep", "/a", "/b"], "--on-conflict"),
        (["--on-conflict", "keep-both", "--unsafe-no-conflict-check", "/a", "/b"], "--unsafe-no-conflict-check"),
        (["--detach", "/a", "/b"], "--broker"),
        (["--broker", "redis://x", "--detach", "-n", "/a", "/b"], "--detach"),
        (["--broker", "redis://x", "--detach", "-v", "/a", "/b"], "--detach"),
        (["--broker", "http://x", "/a", "/b"], "broker_url"),
        (["--exclude-from", "/does/not/exist", "/a", "/b"], "/does/not/exist"),
        (["--exclude", "", "/a", "/b"], "no pattern"),
        (["-L", "--skip-links", "/a", "/b"], "--skip-links"),
        (["--no-metadata", "-a", "/a", "/b"], "--no-metadata"),
        (["--no-metadata", "--dir-metadata", "/a", "/b"], "--dir-metadata"),
        (["-o", "/a", "/b"], "-g"),
        (["--fail-on-conflict", "--on-conflict", "skip", "/a", "/b"], "--fail-on-conflict"),
        (["--fail-on-conflict", "--unsafe-no-conflict-check", "/a", "/b"], "--unsafe-no-conflict-check"),
        (["--max-delete", "5", "/a", "/b"], "--delete"),
        (["--delete-excluded", "/a", "/b"], "--delete:"),
        (["--delete", "--max-delete", "many", "/a", "/b"], "--max-delete many"),
        (["--delete", "--max-delete", "200%", "/a", "/b"], "--max-delete 200%"),
        (["--backup-dir", "/old", "/a", "/b"], "--backup-dir /old"),
        (["--backup-dir", "../old", "/a", "/b"], "--backup-dir ../old"),
        (["--backup-dir", ".hugesync-trash", "/a", "/b"], ".hugesync"),
        (["--backup-dir", "old", "--inplace", "/a", "/b"], "--inplace"),
        (["--backup-dir", "old", "--unsafe-no-conflict-check", "/a", "/b"], "--unsafe-no-conflict-check"),
        (["--events", "-", "/a", "/b"], "--events"),
        (["--log-file", "/does/not/exist/f", "/a", "/b"], "/does/not/exist/f"),
        (["-i", "/a", "/b"], "--events FILE"),
        (["-q", "-i", "/a", "/b"], "--itemize-changes"),
        (["--broker", "redis://x", "--detach", "--events", "f", "/a", "/b"], "--detach and --events"),
        (["--broker", "redis://x", "--detach", "--log-file", "f", "/a", "/b"], "--detach and --log-file"),
        (["--broker", "redis://x", "--detach", "-i", "/a", "/b"], "--detach and --itemize-changes"),
        (["--broker", "redis://x", "--detach", "--metrics-port", "9464", "/a", "/b"], "--detach and --metrics-port"),
    ],
)
def test_bad_usage_is_one_sentence_that_names_it_exit_2_and_one_json_object(
    library: FakeLibrary,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert submit("--json", *args) == 2

    out, err = capsys.readouterr()
    assert only_object(out)["state"] == "usage"
    (line,) = err.splitlines()
    assert line.startswith("hugesync-submit: ")
    assert named in line
    assert library.calls == []


def test_no_arguments_at_all_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert submit() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hugesync-submit: Missing argument 'SOURCE'.")


def test_a_job_that_ended_before_it_found_anything_has_no_summary_only_a_reason(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing_there(observer: Any) -> Summary:
        observer.on_start("job7", False)
        raise errors.NotFound("s3://b/none/: nothing is there")

    library.outcome = nothing_there

    assert submit("s3://b/none", "/dst") == 2
    assert capsys.readouterr() == ("", "hugesync-submit: s3://b/none/: nothing is there\n")


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "state"),
    [
        (errors.UsageError("no such source"), 2, "usage"),
        (errors.NoSuchBucket("no such bucket"), 2, "usage"),
        (errors.BadCredentials("wrong key"), 2, "usage"),
        (errors.AccessDenied("may not list"), 2, "usage"),
        (errors.NotFound("nothing there"), 2, "usage"),
        (errors.ConflictStop("a rival wrote"), 3, "conflict"),
        (errors.Refused("inside itself"), 4, "refused"),
        (errors.Unreachable("nobody answers"), 5, "stalled"),
        (errors.Throttled("slow down"), 5, "stalled"),
        (errors.Cancelled("told to stop"), 130, "cancelled"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("oops"), 1, "done_with_errors"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else "",
)
def test_an_error_is_a_state_an_exit_code_and_a_sentence_without_a_traceback(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, state: str
) -> None:
    def fail(observer: Any) -> Summary:
        raise error

    library.outcome = fail

    assert submit("--json", "/src", "/dst") == code
    out, err = capsys.readouterr()
    assert only_object(out)["state"] == state
    (line,) = err.splitlines()
    assert (str(error) or "interrupted") in line

    assert submit("/src", "/dst") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("state", [s for s in State if s is not State.DONE])
def test_a_summary_ends_with_the_exit_code_of_its_state(library: FakeLibrary, state: State) -> None:
    library.outcome = lambda observer: Summary(state, "job1")
    codes = {"done_with_errors": 1, "usage": 2, "conflict": 3, "refused": 4, "stalled": 5, "running": 0}

    assert submit("/src", "/dst") == codes.get(state, 130)


def test_debug_shows_the_traceback_without_secrets(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(observer: Any) -> Summary:
        raise errors.Unreachable("cannot reach redis://:hunter2@host")

    library.outcome = fail

    assert submit("--debug", "/src", "/dst") == 5
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "hunter2" not in err


def test_a_job_that_breaks_off_reports_what_was_counted_until_then(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(observer: Any) -> Summary:
        observer.on_start("job7", False)
        observer.on_progress(Snapshot({"found": 5, "done": 2, "pending": 3}, {"found": 50, "done": 20, "pending": 30}))
        raise KeyboardInterrupt

    library.outcome = stop

    assert submit("--json", "/src", "/dst") == 130
    out, err = capsys.readouterr()
    found = only_object(out)
    assert (found["job_id"], found["files"]["done"], found["files"]["pending"]) == ("job7", 2, 3)
    assert err == "hugesync-submit: interrupted; to go on: hugesync resume job7\n"

    assert submit("/src", "/dst") == 130
    assert "hugesync resume job7" in capsys.readouterr().out


def test_counters_that_contradict_each_other_never_exit_0(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.outcome = lambda observer: Summary(State.DONE, "job1", files={"found": 3, "done": 2})

    assert submit("--json", "/src", "/dst") == 1
    out, err = capsys.readouterr()
    assert only_object(out)["state"] == "done_with_errors"
    assert "found 3" in err


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_winds_the_job_down_like_ctrl_c_and_handlers_are_put_back(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], sent: signal.Signals
) -> None:
    def be_stopped(observer: Any) -> Summary:
        try:
            signal.raise_signal(sent)
        except KeyboardInterrupt:
            return Summary(State.INTERRUPTED, "job1", resumable=True)
        return DONE

    library.outcome = be_stopped
    # as a terminal gives them: whoever runs the tests in the background may have them ignored
    before = signal.default_int_handler if sent == signal.SIGINT else signal.SIG_DFL
    ours = signal.signal(sent, before)
    try:
        assert submit("/src", "/dst") == 130
        assert "hugesync resume job1" in capsys.readouterr().out
        assert signal.getsignal(sent) is before
    finally:
        signal.signal(sent, ours)


# --- who sees what ----------------------------------------------------------------------------------------------------


def test_quiet_says_nothing_when_all_is_done_and_something_when_not(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit("-q", "/src", "/dst") == 0
    assert capsys.readouterr() == ("", "")

    library.outcome = lambda observer: Summary(State.STALLED, "job1", reason="no worker sees root 'home'")
    assert submit("--quiet", "/src", "/dst") == 5
    out, err = capsys.readouterr()
    assert out.startswith("stalled: ")
    assert err == "hugesync-submit: no worker sees root 'home'\n"


def test_without_a_terminal_progress_is_lines_on_stderr_and_no_progress_leaves_only_notices(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(observer: Any) -> Summary:
        observer.on_start("job1", True)
        observer.on_progress(Snapshot({"found": 4, "done": 1, "pending": 3}, {"found": 8, "pending": 8}, elapsed=60.0))
        observer.on_notice("mind the gap")
        return DONE

    library.outcome = work

    assert submit("--json", "--progress", "/src", "/dst") == 0
    out, err = capsys.readouterr()
    assert only_object(out)["state"] == "done"
    resumed, progress, notice = err.splitlines()
    assert "job1" in resumed
    assert "1 of ≥ 4 files" in progress
    assert notice == "hugesync-submit: mind the gap"

    assert submit("--no-progress", "/src", "/dst") == 0
    assert "files" not in capsys.readouterr().err


def test_verbose_lists_every_failure_and_logs_more(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    def work(observer: Any) -> Summary:
        from hugesync_tasks.logs import get_logger

        get_logger("hugesync_producer.x").info("looked at https://h/b?X-Amz-Signature=abc", path="a b")
        failures = tuple(Failure(f"f{i}", errors.FailureClass.PERMANENT, "no") for i in range(12))
        return Summary(State.DONE_WITH_ERRORS, "job1", files={"found": 12, "failed": 12}, failures=failures)

    library.outcome = work

    assert submit("/src", "/dst") == 1
    out, err = capsys.readouterr()
    assert "f9" in out
    assert "f10" not in out
    assert err == ""

    assert submit("--verbose", "--log-format", "json", "/src", "/dst") == 1
    out, err = capsys.readouterr()
    assert "f11" in out
    looked, ended = map(json.loads, err.splitlines())
    assert looked["event"] == "looked at https://h/b?X-Amz-Signature=***"
    assert (ended["event"], ended["exit_code"]) == ("ended", 1)


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from hugesync_tasks import __version__

    assert submit("--version") == 0
    assert capsys.readouterr().out == f"hugesync-submit {__version__}\n"


# --- hugesync ---------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_one_on_each_line_whatever_their_paths(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync("jobs") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["JOB", "STATE", "STARTED", "SOURCE", "DEST"]
    assert row.split("  ") == ["job1", "interrupted, resumable", "1970-01-01 00:00:00Z", "$'/a\\nb'", "s3://b/p/"]

    assert hugesync("jobs", "--json", "--broker", "redis://h/0") == 0
    assert only_object(capsys.readouterr().out)["jobs"][0]["state"] == "interrupted"
    assert library.calls[-1][1][0].broker_url == "redis://h/0"


def test_status_shows_how_a_job_ended_and_with_verbose_every_failure(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync("status", "job1") == 0
    out = capsys.readouterr().out
    assert out.startswith("/a → /b\ndone, with errors: ")
    assert "and 2 more" in out
    assert "hugesync resume job1" in out

    assert hugesync("status", "job1", "-v") == 0
    assert "f11" in capsys.readouterr().out

    assert hugesync("status", "job1", "--json") == 0
    assert only_object(capsys.readouterr().out)["files"]["failed"] == 12


def test_an_unknown_job_is_a_sentence_and_exit_2(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("status", "nope", "--json") == 2
    out, err = capsys.readouterr()
    assert only_object(out)["state"] == "usage"
    assert err == "hugesync: there is no job nope\n"


def test_resume_ends_as_the_job_would(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    library.outcome = lambda observer: Summary(State.STALLED, "job1", reason="no workers")

    assert hugesync("resume", "job1", "--json", "--state", "redis://h/3") == 5

    name, (job, settings), _ = library.calls[-1]
    assert (name, job, settings.state_url) == ("resume", "job1", "redis://h/3")
    assert set(only_object(capsys.readouterr().out)["files"]) == set(FILES)


def test_cancel_tells_the_job(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("cancel", "job1") == 0
    assert library.calls[-1][:1] == ("cancel",)
    assert "job1" in capsys.readouterr().out


LIMITS: list[tuple[list[str], dict[str, str]]] = [
    (["--bwlimit", "10M"], {"bwlimit": str(10 << 20)}),
    (["--bwlimit", "off"], {"bwlimit": "0"}),
    (["--tpslimit", "0.5"], {"tpslimit": "0.5"}),
    (["--tpslimit", "off"], {"tpslimit": "0.0"}),
    (["-j", "3"], {"jobs": "3"}),
    (["--jobs", "0", "--weight", "4"], {"jobs": "0", "weight": "4"}),
    ([], {}),
]


@pytest.mark.parametrize(("args", "said"), LIMITS, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_limit_tells_the_job_what_is_given_and_nothing_else(
    library: FakeLibrary, args: list[str], said: dict[str, str]
) -> None:
    assert hugesync("limit", "job1", *args, "--state", "redis://h/3") == 0
    name, (job, settings, told), _ = library.calls[-1]
    assert (name, job, settings.state_url, told) == ("limit", "job1", "redis://h/3", said)
    if "weight" not in said:
        assert hugesync("limit", "--endpoint", "https://h", *args, "--broker", "redis://h/3") == 0
        name, (url, settings, told), _ = library.calls[-1]
        assert (name, url, settings.broker_url, told) == ("limit_endpoint", "https://h", "redis://h/3", said)
        assert not settings.bwlimit, "what is to hold elsewhere is no setting of this process"


def test_limit_shows_what_holds(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("limit", "job1", "--bwlimit", "10M") == 0
    assert capsys.readouterr().out == "job job1: bandwidth 10MiB/s, requests off, tasks at once off, weight 2\n"
    assert hugesync("limit", "--endpoint", "https://h", "-j", "4") == 0
    assert capsys.readouterr().out == "endpoint https://h: bandwidth off, requests off, tasks at once 4\n"
    assert hugesync("limit", "job1", "--bwlimit", "1MB/s", "--json") == 0
    shown = {"job_id": "job1", "bwlimit": 1_000_000, "tpslimit": 0.0, "jobs": 0, "weight": 2}
    assert only_object(capsys.readouterr().out) == shown
    assert hugesync("limit") == 0
    assert capsys.readouterr().out.splitlines() == [
        "job job1: bandwidth off, requests off, tasks at once 3, weight 4",
        "endpoint https://s3.example: bandwidth off, requests 0.5/s, tasks at once off",
    ]
    assert hugesync("limit", "--json") == 0
    found = only_object(capsys.readouterr().out)
    assert (found["jobs"]["job1"]["weight"], found["endpoints"]["https://s3.example"]["tpslimit"]) == (4, 0.5)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["job1", "--bwlimit", "fast"], "--bwlimit"),
        (["job1", "--bwlimit", "63K"], "the lowest rate is 64KiB/s"),
        (["job1", "--tpslimit", "0.1"], "--tpslimit"),
        (["job1", "--weight", "0"], "--weight: '0' is not a whole number from 1 to 1000"),
        (["job1", "--jobs", "-1"], "--jobs"),
        (["job1", "--endpoint", "https://h"], "not both"),
        (["--endpoint", "https://h", "--weight", "2"], "--weight is of a job"),
        (["--bwlimit", "10M"], "whose limit"),
    ],
)
def test_a_limit_that_cannot_be_is_bad_usage(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    assert hugesync("limit", *args) == 2
    assert says in capsys.readouterr().err
    assert not library.calls


def test_config_shows_each_value_and_its_origin_without_passwords(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUGESYNC_RETRIES", "7")

    assert hugesync("config", "--json", "--broker", "redis://:hunter2@h/0") == 0
    out = capsys.readouterr().out
    found = only_object(out)
    assert found["retries"] == {"value": "7", "source": "HUGESYNC_RETRIES"}
    assert found["broker_url"]["source"] == "command line"
    assert found["memory"]["source"] == "default"
    assert "hunter2" not in out

    assert hugesync("config") == 0
    assert "HUGESYNC_RETRIES" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    """``--help`` in a new process must not pull in what takes long: it is what people wait for most often."""
    code = (
        "import sys; sys.argv = ['hugesync-submit', '--help']; from hugesync_producer.cli import submit; submit();"
        "heavy = {'boto3', 'celery', 'redis', 'rich', 'pydantic', 'structlog', 'obstore', 'numpy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--dry-run" in done.stdout


FAKE = """
import sys, types
from hugesync_tasks.summary import State, Summary
fake = types.ModuleType("hugesync_producer.sync")
fake.sync = lambda *a, **k: Summary(State.STALLED, "job1", files={"found": 2, "pending": 2})
sys.modules[fake.__name__] = fake
from hugesync_producer.cli import submit
sys.argv = ["hugesync-submit", *sys.argv[1:]]
sys.exit(submit())
"""


@pytest.mark.parametrize("args", [[], ["--json"]])
def test_a_reader_that_has_gone_changes_neither_the_exit_code_nor_stderr(args: list[str], tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FAKE, *args, "/src", "/dst"]
    try:
        done = subprocess.run(command, env=env, stdout=written, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(written)

    assert (done.returncode, done.stderr) == (5, "")


def test_a_terminal_that_cannot_show_a_name_gets_it_escaped(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    env["PYTHONIOENCODING"] = "ascii"
    command = [sys.executable, "-c", FAKE, "/src", "/dst"]
    done = subprocess.run(command, env=env, capture_output=True, timeout=60)

    assert (done.returncode, done.stderr) == (5, b"")
    assert b"found \\u2265 2" in done.stdout
