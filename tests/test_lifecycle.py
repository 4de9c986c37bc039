"""Lifecycle rules that would end uploads or delete what is written are noticed before the job begins."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from conftest import Bucket
from headerproxy import HeaderProxy
from hugesync_producer import sync
from hugesync_producer.sync import probed
from hugesync_tasks.spec import Spec
from hugesync_tasks.stores.s3_lifecycle import worded
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Unobserved
from hugesync_tasks.token import Meter
from hugesync_tasks.uri import parse_location
from submit import Submit
from test_stderr_json import named

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def rule(**more: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **more}


def aborts(days: int, **more: Any) -> dict[str, Any]:
    return rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": days}, **more)


def expires(**more: Any) -> dict[str, Any]:
    return rule(Expiration=more)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (aborts(1), "aborts uploads 1 day after"),
        (aborts(3), "aborts uploads 3 days after"),
        (aborts(4), ""),
        (aborts(1, Status="Disabled"), ""),
        (aborts(1, Filter={"Prefix": "data/"}), "aborts"),
        (aborts(1, Filter={"Prefix": "data/deeper/"}), "aborts"),
        (aborts(1, Filter={"Prefix": "dat"}), "aborts"),
        (aborts(1, Filter={"Prefix": "data2/"}), ""),
        (aborts(1, Filter={"Prefix": "other/"}), ""),
        (aborts(1, Filter={"And": {"Prefix": "other/", "ObjectSizeGreaterThan": 5}}), ""),
        (aborts(1, Filter={"Tag": {"Key": "a", "Value": "b"}}), ""),
        ({**aborts(1), "Filter": None, "Prefix": "other/"}, ""),
        ({**aborts(1), "Filter": None, "Prefix": "data/"}, "aborts"),
        (expires(Days=1), "deletes objects 1 day after"),
        (expires(Days=2), ""),
        (expires(Date=NOW - timedelta(days=9)), "deletes objects from 2026-11-16 on"),
        (expires(Date=NOW + timedelta(hours=23)), "deletes"),
        (expires(Date=NOW + timedelta(days=2)), ""),
        (expires(ExpiredObjectDeleteMarker=True), ""),
        (rule(Expiration={"Days": 1}, Filter={"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}]}}), ""),
        (rule(), ""),
        ({}, ""),
    ],
)
def test_a_rule_is_worded_where_it_strikes_soon_and_below_the_prefix(found: dict[str, Any], said: str) -> None:
    words = worded([found], "data/", NOW.timestamp())
    assert len(words) == bool(said)
    assert said in "".join(words)


ONE_DAY = [aborts(1, ID="short\nlife")]


class Watching(Unobserved):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def on_notice(self, message: str) -> None:
        self.notices.append(message)


def notices(s3: Bucket, tmp_path: Path, dry_run: bool = False, prefix: str = "to") -> tuple[list[str], dict[str, int]]:
    (tmp_path / "source").mkdir(exist_ok=True)
    source, dest = parse_location(str(tmp_path / "source")), parse_location(f"s3://{s3.bucket}/{prefix}")
    watching, meter = Watching(), Meter()
    probed(Spec(uuid.uuid4().hex, source, dest, dry_run=dry_run), meter, SharedRates(), tmp_path, watching)
    return watching.notices, meter.take()


def test_a_job_asks_once_and_a_dry_run_never(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HeaderProxy(s3_bucket.server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)

        def asked() -> int:
            return sum("lifecycle" in path for _, path in proxy.asked)

        assert notices(s3_bucket, tmp_path)[0] == []
        assert asked() == 1
        s3_bucket.client.put_bucket_lifecycle_configuration(
            Bucket=s3_bucket.bucket, LifecycleConfiguration={"Rules": ONE_DAY}
        )
        (said,), counted = notices(s3_bucket, tmp_path)
        assert said.startswith(
            f"s3://{s3_bucket.bucket}/to/: the bucket's lifecycle rule 'short\\nlife' aborts uploads"
        )
        assert asked() == 2
        assert counted["requests.list"] == 2, "the probe's listing, and this"
        assert notices(s3_bucket, tmp_path, dry_run=True)[0] == []
        assert asked() == 2

        for status, code in ((403, "AccessDenied"), (501, "NotImplemented"), (500, "InternalError")):
            proxy.refuses = lambda method, path, it=(status, code): it if "lifecycle" in path else None  # type: ignore[misc]
            with capture_logs() as lines:
                monkeypatch.setattr(sync, "log", structlog.get_logger())
                assert notices(s3_bucket, tmp_path)[0] == []
            (line,) = [line for line in lines if line["event"] == "lifecycle rules not read"]
            assert (line["log_level"], code in line["reason"]) == ("info", True)


def test_the_notice_is_a_line_on_stderr_and_an_event(s3_bucket: Bucket, tmp_path: Path) -> None:
    rules = {"Rules": [rule(ID="gone", Expiration={"Days": 1})]}
    s3_bucket.client.put_bucket_lifecycle_configuration(Bucket=s3_bucket.bucket, LifecycleConfiguration=rules)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"x")
    ran = Submit(tmp_path / "home", s3_bucket.env)(
        tmp_path / "source", f"s3://{s3_bucket.bucket}/to", "--log-format", "json"
    )
    assert ran.code == 0
    (event,) = named(ran, "notice")
    assert "deletes objects 1 day after they were written, also what this job writes" in event["message"]
    assert json.loads(json.dumps(ran.json))["files"]["done"] == 1
