"""The summary as JSON and as text; the law; secrets and control characters never reach a reader."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_producer import human
from hugesync_producer.report import from_json, honest, to_json, to_text
from hugesync_tasks import logs
from hugesync_tasks.errors import FailureClass
from hugesync_tasks.redact import redact, redact_value
from hugesync_tasks.summary import OUTCOMES, UNMATCHED, Failure, State, Summary

# design §6, word for word
SHAPE = """
{"job_id": "...", "dry_run": false, "scan_complete": true, "state": "done",
 "files": {"found":0,"done":0,"skipped":0,"failed":0,"pending":0,"deleted":0,"missing":0},
 "skipped_by": {"same":0,"filtered":0,"special":0,"existing":0},
 "bytes": {"found":0,"done":0,"skipped":0,"failed":0,"pending":0,
           "sent":0,"received":0,"copied_server_side":0,"reused":0,"overhead":0},
 "requests": {"list":0,"head":0,"get":0,"put":0,"create":0,"part":0,"part_copy":0,"complete":0,"abort":0,"delete":0},
 "transfers": {"full":0,"delta":0,"server_copy":0}, "verified": 0, "retries": 0, "conflicts": 0,
 "failures": [{"path":"...","class":"permanent","message":"..."}],
 "failures_omitted": 0, "elapsed_seconds": 0.0}
"""


def summary(**more: object) -> Summary:
    known: dict[str, object] = {
        "state": State.DONE_WITH_ERRORS,
        "job_id": "j1",
        "scan_complete": True,
        "files": {"found": 10, "done": 6, "skipped": 3, "failed": 1},
        "skipped_by": {"same": 2, "special": 1},
        "bytes": {"found": 1000, "done": 600, "skipped": 300, "failed": 100, "sent": 600},
        "requests": {"put": 6, "list": 1},
        "transfers": {"full": 6},
        "verified": 6,
        "retries": 2,
        "conflicts": 1,
        "failures": (Failure("a/b", FailureClass.NEEDS_PERSON, "may not read"),),
        "elapsed_seconds": 2.0,
    }
    return Summary(**{**known, **more})  # type: ignore[arg-type]


def test_the_object_has_every_name_of_the_design_in_its_order_and_no_other() -> None:
    wanted = json.loads(SHAPE)

    found = to_json(summary())

    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert type(found[name]) is type(value)
        if isinstance(value, dict):
            assert list(found[name]) == list(value)
    assert list(found["failures"][0]) == ["path", "class", "message"]


def test_the_object_carries_the_values() -> None:
    found = to_json(summary())

    assert found["files"] == {
        "found": 10,
        "done": 6,
        "skipped": 3,
        "failed": 1,
        "pending": 0,
        "deleted": 0,
        "missing": 0,
    }
    assert found["failures"] == [{"path": "a/b", "class": "needs_person", "message": "may not read"}]
    assert (found["verified"], found["retries"], found["conflicts"], found["elapsed_seconds"]) == (6, 2, 1, 2.0)


def test_a_summary_survives_the_way_through_json() -> None:
    once = to_json(summary())
    assert to_json(from_json(json.loads(json.dumps(once)))) == once


def test_no_more_than_a_thousand_failures_are_listed_and_the_rest_is_counted() -> None:
    many = tuple(Failure(f"f{i}", FailureClass.TRANSIENT, "no") for i in range(1100))

    found = to_json(summary(failures=many, failures_omitted=50))

    assert len(found["failures"]) == 1000
    assert found["failures_omitted"] == 150


@pytest.mark.parametrize("counters", ["files", "bytes", "requests", "transfers", "skipped_by"])
def test_a_counter_that_the_design_does_not_know_is_an_error_and_not_dropped(counters: str) -> None:
    with pytest.raises(ValueError, match="invented"):
        to_json(summary(**{counters: {"invented": 1}}))


@given(st.lists(st.integers(0, 10**15), min_size=4, max_size=4), st.integers(-5, 5))
def test_the_law_holds_exactly_when_found_is_the_sum(parts: list[int], off: int) -> None:
    counters = dict(zip(OUTCOMES, [sum(parts) + off, *parts], strict=True))
    running = Summary(State.RUNNING, files=counters)

    assert bool(running.falsehood()) == (off != 0)
    assert bool(Summary(State.RUNNING, bytes=counters).falsehood()) == (off != 0)


@pytest.mark.parametrize(
    ("state", "files", "dry_run"),
    [
        (State.DONE, {"found": 1, "failed": 1}, False),
        (State.DONE, {"found": 1, "pending": 1}, False),
        (State.DONE_WITH_ERRORS, {"found": 2, "failed": 1, "pending": 1}, False),
        (State.DONE, {"found": 2, "done": 1}, False),
        (State.DONE, {"found": 1, "failed": 1}, True),
        (State.DONE, {"found": 1, "skipped": 1}, False),
        (State.DONE, {"found": 1, "done": 2, "failed": -1}, False),
    ],
)
def test_a_summary_that_claims_too_much_is_not_done(state: State, files: dict[str, int], dry_run: bool) -> None:
    claimed = Summary(state, files=files, dry_run=dry_run)

    told, wrong = honest(claimed)

    assert wrong, "the contradiction is named"
    assert told.state is State.DONE_WITH_ERRORS
    assert told.files == files


@pytest.mark.parametrize("state", [State.STALLED, State.INTERRUPTED, State.RUNNING, State.REFUSED])
def test_what_stopped_early_may_leave_files_pending(state: State) -> None:
    claimed = Summary(state, files={"found": 3, "done": 1, "pending": 2})
    assert honest(claimed) == (claimed, "")


def test_a_dry_run_may_leave_files_pending_and_says_what_would_be_transferred() -> None:
    dry = Summary(
        State.DONE, dry_run=True, files={"found": 1200, "pending": 1200}, bytes={"found": 1536, "pending": 1536}
    )

    assert honest(dry) == (dry, "")
    assert to_text(dry).startswith("dry run: 1,200 files, 1.5 KiB would be transferred")


@pytest.mark.parametrize(
    ("requests", "carried", "line"),
    [
        ({"complete": 1}, {"sent": 250}, "1 file · sent 250 B, reused 750 B, saved 75.0 %"),
        (
            {"put": 1},
            {"sent": 250, "received": 1000},
            "1 file · sent 250 B, reused 750 B, saved 75.0 %",
        ),  # read to compare
        ({"get": 9}, {"received": 250}, "1 file · sent 250 B, reused 750 B, saved 75.0 %"),  # a download
        ({}, {"sent": 0}, "1 file · sent 0 B, reused 750 B, saved 100.0 %"),
    ],
)
def test_a_delta_says_what_was_sent_reused_and_saved(
    requests: dict[str, int], carried: dict[str, int], line: str
) -> None:
    ran = summary(
        requests=requests, transfers={"delta": 1}, bytes={**summary().bytes, "sent": 0, "reused": 750, **carried}
    )
    assert line in to_text(ran)


def test_a_dry_run_says_what_a_delta_would_send() -> None:
    dry = summary(dry_run=True, transfers={"delta": 2}, bytes={"found": 1000, "pending": 1000, "reused": 990})
    assert "2 files · would have sent 10 B, reused 990 B, saved 99.0 %" in to_text(dry)
    assert "saved" not in to_text(summary(transfers={"full": 1}, bytes={"found": 1, "done": 1})), (
        "no delta, no such line"
    )


def test_the_text_tells_what_one_wants_to_know_in_the_morning() -> None:
    text = to_text(summary(notes=("conflict guard: best effort on /mnt/x",), resumable=True))

    assert text.splitlines() == [
        "done, with errors: 6 files done, 600 B moved in 2 seconds, 300 B/s (job j1)",
        "  files     found 10 · done 6 · skipped 3 (same 2, special 1) · failed 1",
        "  planned   found 1000 B · done 600 B · skipped 300 B · failed 100 B",
        "  traffic   sent 600 B",
        "  checked   verified 6 · retries 2 · conflicts 1",
        "  note      conflict guard: best effort on /mnt/x",
        "Failed (1):",
        "  needs action   a/b: may not read",
        "To go on:   hugesync resume j1   (or the same command again)",
    ]


def test_totals_are_lower_bounds_when_the_scan_did_not_end() -> None:
    assert "found ≥ 10 " in to_text(summary(scan_complete=False))


def test_ten_failures_are_shown_and_the_others_counted_with_where_to_see_them() -> None:
    many = tuple(Failure(f"f{i}", FailureClass.PERMANENT, "no") for i in range(15))

    text = to_text(
        summary(files={"found": 29, "done": 6, "skipped": 3, "failed": 20}, failures=many, failures_omitted=5)
    )

    assert "Failed (20):" in text
    assert "f9: no" in text
    assert "f10" not in text
    assert "… and 10 more" in text
    assert "hugesync status j1 -v" in text


def test_what_could_not_be_deleted_is_told_apart_too_unless_some_of_it_is_only_counted() -> None:
    kept = Failure("x", FailureClass.CONFLICT, "not deleted: it changed since it was listed")
    failures = (Failure("f", FailureClass.PERMANENT, "no"), kept)
    assert "Failed (1 file and 1 deletion):" in to_text(summary(failures=failures))
    assert "Failed (7):" in to_text(summary(failures=failures, failures_omitted=5))


def test_a_dry_run_says_what_would_be_deleted_and_the_run_what_was() -> None:
    files = {"found": 1, "skipped": 1, "deleted": 2}
    done = summary(state=State.DONE, files=files, skipped_by={"same": 1})
    assert "deleted 2" in to_text(done)
    dry = to_text(summary(state=State.DONE, files=files, skipped_by={"same": 1}, dry_run=True))
    assert "2 files would be deleted (looked" in dry
    assert "· would be deleted 2" in dry
    assert "would be" not in to_text(done)


def test_folders_that_failed_are_told_apart_from_the_files_that_are_counted() -> None:
    failures = (Failure("a/b", FailureClass.NEEDS_PERSON, "no"), Failure("a/", FailureClass.NEEDS_PERSON, "no"))

    assert "Failed (1 file and 1 folder):" in to_text(summary(failures=failures))


def test_a_comparison_says_equal_or_not_and_lists_apart_what_only_the_destination_has() -> None:
    counted = {"found": 10, "skipped": 10}
    equal = summary(
        state=State.DONE, compares=True, files=counted, skipped_by={"same": 8, "filtered": 2}, failures=(), verified=7
    )
    assert to_text(equal).splitlines()[0] == "equal: 8 files (2 left out), compared in 2 seconds (job j1)"
    failures = (
        Failure("a", FailureClass.PERMANENT, "missing at the destination"),
        Failure("b/", FailureClass.PERMANENT, "missing at the destination"),
        Failure("c", FailureClass.NEEDS_PERSON, "permission denied"),
        *(Failure(f"extra {n}", FailureClass.PERMANENT, UNMATCHED) for n in range(4)),
    )
    text = to_text(summary(compares=True, files={"found": 10, "skipped": 8, "failed": 2}, failures=failures), 3)
    lines = text.splitlines()
    assert lines[0] == "not equal: 2 of 10 files, compared in 2 seconds (job j1)"
    assert lines[lines.index("Not equal (2 files and 1 folder):") :] == [
        "Not equal (2 files and 1 folder):",
        "  not equal      a: missing at the destination",
        "  not equal      b/: missing at the destination",
        "  needs action   c: permission denied",
        "Only at the destination:",
        "  extra 0",
        "  extra 1",
        "  extra 2",
        "  … and 1 more; up to 1,000 are listed by: hugesync status j1 -v",
    ]
    stopped = to_text(summary(state=State.INTERRUPTED, compares=True))
    assert stopped.startswith("interrupted: "), "nothing is said of what was not looked at"


def test_a_dry_run_that_met_failures_is_still_called_a_dry_run() -> None:
    text = to_text(summary(dry_run=True, files={"found": 4, "skipped": 1, "failed": 1, "pending": 2}))

    assert text.startswith("dry run: 2 files,")


def test_a_name_that_sounds_like_a_secret_does_not_take_its_reason_away() -> None:
    assert redact("token: permission denied") == "token: permission denied"
    assert redact("secret: secret: permission denied") == "secret: secret: permission denied"
    assert "hunter2" not in redact("password: hunter2 is what it was")
    assert "correcthorse" not in redact("password: correcthorse")


@given(st.text())
def test_nothing_that_a_file_is_called_reaches_the_terminal_as_a_control_character(text: str) -> None:
    failed = Failure(text, FailureClass.PERMANENT, text)

    shown = to_text(summary(failures=(failed,), notes=(text,)))

    assert all(c.isprintable() or c == "\n" for c in shown)
    assert len(shown.splitlines()) == 8


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("a b/ü😀.txt", "a b/ü😀.txt"),
        ("it's", "it's"),
        ("a\nb", r"$'a\nb'"),
        ("\x1b[31mred's\\", r"$'\e[31mred\'s\\'"),
        ("bad\udcff", r"$'bad\xff'"),
        ("rtl\u202etxt", r"$'rtl\u202etxt'"),
        ("del\x7f\t", r"$'del\x7f\t'"),
    ],
)
def test_a_name_is_shown_as_it_is_or_in_a_quoting_the_shell_reads_back(key: str, shown: str) -> None:
    assert human.name(key) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 seconds"),
        (4.23, "4.2 seconds"),
        (59.96, "1 minute"),
        (200, "3 minutes and 20 seconds"),
        (3725, "1 hour and 2 minutes"),
        (90_000, "1 day and 1 hour"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert human.duration(seconds) == shown


def test_amounts_are_worded_in_one_place_whoever_says_them() -> None:
    own = re.compile(r"naturalsize|precisedelta|\{[^{}]*\} ?[KMGT]i?B\b|%[.\d]*[dsf] [KMGT]i?B\b")
    exempt = {
        "amounts.py",
        "human.py",
        "config_units.py",
        "limits_docs.py",
    }  # what is read back; a table of the documents
    root = Path(__file__).resolve().parent.parent
    packages = ("hugesync_tasks", "producer/hugesync_producer", "worker/hugesync_worker")
    sources = [path for package in packages for path in (root / package).rglob("*.py")]
    assert len(sources) > 200
    assert [p.name for p in sources if p.name not in exempt and own.search(p.read_text())] == []
    assert own.search(f"{{n / 1e6:.1f}} {'MB'}/s")


SECRETS = [
    "redis://:hunter2@host:6379/0",
    "redis://user:hunter2@host/0",
    "rediss://user:p@hunter2@host/0",
    "https://hunter2@host/path",
    "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=A&X-Amz-Signature=hunter2&x=1",
    "https://b/k?X-Amz-Security-Token=hunter2",
    "https://b/k?X-Amz-Credential=hunter2%2F2026",
    "https://acc.blob.core.windows.net/c/b?sv=2020&sig=hunter2%3D",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
    "Authorization: AWS4-HMAC-SHA256 Credential=hunter2/20261121, SignedHeaders=host, Signature=hunter2",
    "{'Authorization': 'Bearer hunter2', 'Host': 'h'}",
    "{'authorization': b'Basic hunter2'}",
    'headers={"X-Amz-Security-Token": "hunter2"}',
    "aws_secret_access_key = hunter2",
    "AWS_SESSION_TOKEN=hunter2",
    '{"password": "hunter2 with spaces hunter2"}',
    "Cookie: session=hunter2; other=hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_taken_out_of_text(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "hunter2" not in redact(f"GET failed: {text} (tried 3 times)\nnext line")


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix",
        "http://127.0.0.1:9000/bucket/mail@host",
        "cannot open /data/a: permission denied",
        "file:///home/me@work/x",
        "signed=3 design=4",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_fields_are_redacted_by_name_and_within() -> None:
    given_ = {"headers": {"Authorization": "x", "n": 1}, "urls": ["redis://:p@h"], "ok": None, "secret_key": ""}

    assert redact_value("", given_) == {
        "headers": {"Authorization": "***", "n": 1},
        "urls": ["redis://***@h"],
        "ok": None,
        "secret_key": "",
    }


def test_messages_of_failures_and_notes_are_redacted() -> None:
    told = summary(failures=(Failure("a", FailureClass.TRANSIENT, SECRETS[0]),), notes=(SECRETS[1],))

    assert "hunter2" not in json.dumps(to_json(told))
    assert "hunter2" not in to_text(told)


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("unchanged_logging")
@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_neither_our_logs_nor_those_of_libraries_nor_tracebacks_hold_secrets(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", log_format)
    for secret in SECRETS:
        logs.get_logger("hugesync_tasks.x", where=secret).warning("got %s", secret, detail={"url": secret})
        logging.getLogger("botocore.x").warning("sent %s", secret)
        try:
            raise ValueError(secret)
        except ValueError:
            logs.get_logger().exception("failed")

    err = capsys.readouterr().err
    assert err.count("got ") == len(SECRETS)
    assert err.count("sent ") == len(SECRETS)
    assert err.count("Traceback") == len(SECRETS)
    assert "hunter2" not in err


@pytest.mark.usefixtures("unchanged_logging")
def test_json_logs_are_one_object_on_each_line_with_time_level_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    logs.get_logger("hugesync_tasks.x", job="j1").info("part sent", number=3)
    logging.getLogger("urllib3").warning("retrying\nnow")

    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert {k: ours[k] for k in ("event", "level", "logger", "job", "number")} == {
        "event": "part sent", "level": "info", "logger": "hugesync_tasks.x", "job": "j1", "number": 3,
    }  # fmt: skip
    assert ours["time"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("retrying\nnow", "warning")


@pytest.mark.usefixtures("unchanged_logging")
def test_the_level_holds_for_ours_and_libraries_speak_from_warning_up(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    logs.get_logger("hugesync_producer.x").debug("ours-debug")
    logs.get_logger("hugesync_producer.x").info("ours-info")
    logging.getLogger("botocore").info("theirs-info")
    logs.configure("DEBUG")
    logging.getLogger("celery").debug("theirs-debug")
    logging.getLogger("botocore").debug("each-header")

    err = capsys.readouterr().err
    assert "each-header" not in err
    assert "ours-info" in err
    assert "theirs-debug" in err
    assert "ours-debug" not in err
    assert "theirs-info" not in err


@pytest.mark.usefixtures("unchanged_logging")
def test_a_name_cannot_forge_a_line_of_a_text_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    logs.get_logger().warning("cannot open a\n2026 ERROR forged\x1b[2J", path="x\ny")

    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_unknown_log_format_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        logs.configure("INFO", "xml")
