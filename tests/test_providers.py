"""``hugesync providers``: the table says where each row is from, what it says of SeaweedFS is what SeaweedFS answers, and no row makes
a job trust an endpoint more."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import fields, replace

import pytest

import servers
from conftest import Bucket
from hugesync_producer import cli, cli_jobs
from hugesync_tasks.errors import UsageError
from hugesync_tasks.parts import part_count, part_size
from hugesync_tasks.stores import s3_providers
from hugesync_tasks.stores.base import GIB, Limits
from hugesync_tasks.stores.findings import OF_STORES, Fact
from hugesync_tasks.stores.limits_docs import SEAWEEDFS_LIMITS
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_client import S3Clients
from hugesync_tasks.stores.s3_probe import probe
from hugesync_tasks.stores.s3_providers import Provider, find, providers, with_stated
from hugesync_tasks.token import Token

HUGESYNC = cli_jobs.hugesync_commands
EVERY = pytest.mark.parametrize("row", providers(), ids=lambda row: row.name)


def hugesync(*args: str) -> int:
    return cli.invoke(HUGESYNC, "hugesync", ["providers", *args])


@EVERY
def test_every_row_says_where_it_is_from_and_only_what_a_reader_can_use(row: Provider) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
    assert row.sources
    assert row.addressing in {"path", "virtual", "both", s3_providers.NOT_STATED}
    assert bool(row.measured) == bool(row.answers)
    if row.measured:
        assert re.search(r"\d+\.\d+", row.measured), "the version that was asked"
        assert set(row.answers) == set(OF_STORES)
        assert all(Fact(name, answer).possible for name, answer in row.answers.items())
        assert row.limits is None, "a probe measures none"
    else:
        assert all(re.match(r"https://\S+|rclone \d", source) for source in row.sources)
        assert any(source.startswith("https://") for source in row.sources), "rclone alone is no vendor's page"


@EVERY
def test_limits_of_a_row_are_limits_of_ours_and_differ_from_those_of_s3(row: Provider) -> None:
    names = {f.name for f in fields(Limits)}
    for name, value in (row.limits or {}).items():
        assert name in names
        assert value != getattr(Limits(row.name), name)
        assert isinstance(value, str) == (name == "part_copy")


def test_seaweedfs_has_the_limits_of_the_documents_and_is_the_version_that_was_measured(s3_bucket: Bucket) -> None:
    """Its answers are compared with the row in tests/test_validate.py."""
    assert probe(S3Store(s3_bucket.bucket, "data/"), Token()) == SEAWEEDFS_LIMITS
    said = subprocess.run(
        [servers.find_weed(), "version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    version = re.search(r"\d+\.\d+", said)
    assert version
    assert f"SeaweedFS {version[0]} " in find("seaweedfs").measured, "measure again, and say so"


@pytest.mark.parametrize(
    ("answers", "checksum", "conditional"),
    [
        (dict.fromkeys(OF_STORES, "yes"), "CRC64NVME", "yes"),
        (dict.fromkeys(OF_STORES, "no"), "none", "no"),
        (dict.fromkeys(OF_STORES, "yes") | {"part_crc64": "no", "complete_if_match": "no"}, "Content-MD5", "in part"),
    ],
)
def test_what_was_measured_is_summed_up_from_the_answers(
    answers: dict[str, str], checksum: str, conditional: str
) -> None:
    row = s3_providers._provider({"name": "n", "title": "N", "sources": ["s"], "measured": "N 1.0", "answers": answers})
    assert (row.checksum, row.conditional, row.known_from) == (checksum, conditional, "probed")


# --- what a job takes from it -------------------------------------------------------------------------------------------


def test_limits_that_a_provider_states_tighter_are_kept_to_and_looser_ones_are_not() -> None:
    s3 = Limits("s3")
    scaleway = with_stated(s3, "https://s3.fr-par.scw.cloud")
    assert (scaleway.max_parts, scaleway.min_part) == (1000, s3.min_part)
    assert part_count(500 * GIB, part_size(500 * GIB, scaleway)) <= 1000
    assert part_count(500 * GIB, part_size(500 * GIB, s3)) > 1000

    assert with_stated(s3, "https://s3.gra.io.cloud.ovh.net:443/") == s3  # 48 TiB
    assert with_stated(s3, "https://S3.private.us-south.cloud-object-storage.appdomain.cloud").max_part == 5 * 10**9
    assert with_stated(s3, "https://storage.googleapis.com").part_copy == "none"
    tight = replace(s3, max_parts=10)
    assert with_stated(tight, "https://s3.fr-par.scw.cloud").max_parts == 10


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8333", "https://s3.example.org", "https://scw.cloud", ""])
def test_an_endpoint_of_nobody_in_the_table_keeps_its_limits(endpoint: str) -> None:
    assert with_stated(Limits("s3"), endpoint) == Limits("s3")


@pytest.mark.parametrize("writes", [True, False])
def test_no_row_makes_a_job_trust_an_endpoint_more(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    store = S3Store(s3_bucket.bucket, "data/")
    before = probe(store, Token(), writes)
    host = s3_bucket.endpoint.partition("://")[2].partition(":")[0]
    said = Provider("here", "Here", ("s",), (host,), checksum="CRC64NVME", conditional="yes", limits={"max_parts": 7})
    monkeypatch.setattr(s3_providers, "providers", lambda: (said,))
    assert probe(store, Token(), writes) == replace(before, max_parts=7)


def test_every_bucket_is_named_in_the_path_so_a_service_that_refuses_that_is_said_to_be_unusable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    clients = S3Clients(endpoint="https://oss-cn-beijing.aliyuncs.com")
    url = clients.control.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    assert url.startswith("https://oss-cn-beijing.aliyuncs.com/bucket/key?")

    for row in providers():
        assert hugesync(row.name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["usable"] == (row.addressing != "virtual")
    assert hugesync("alibaba-oss") == 0
    assert "HugeSync cannot use it" in capsys.readouterr().out


# --- the command --------------------------------------------------------------------------------------------------------


def test_all_are_listed_measured_ones_first_each_with_where_it_is_known_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hugesync() == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.split("  ")[0] == "PROVIDER"
    assert err == ""
    names = [line.split()[0] for line in lines[: len(providers())]]
    assert names == [p.name for p in providers()]
    assert names[:3] == ["ceph", "moto", "seaweedfs"]
    assert all("probed" in line for line in lines[:3])
    assert not any("probed" in line for line in lines[3 : len(providers())])
    scaleway = next(line for line in lines if line.startswith("scaleway"))
    assert "1,000 parts, parts to 5 GB, objects to 5 TB" in scaleway


def test_one_is_shown_with_its_sources_and_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("SeaweedFS") == 0
    out = capsys.readouterr().out
    row = find("seaweedfs")
    assert f"known from: probed: {row.measured}" in out
    assert all(f"source: {source}" in out for source in row.sources)
    assert re.search(r"Put honours If-None-Match +yes +new small objects are written on that condition", out)

    assert hugesync("minio") == 0
    out = capsys.readouterr().out
    assert "limits: objects to 50 TiB, puts to 5 TiB, names to 255 bytes" in out
    assert "CAPABILITY" not in out


def test_json_is_one_object_in_which_what_is_not_stated_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync("--json") == 0
    found = json.loads(capsys.readouterr().out)["providers"]
    assert [one["name"] for one in found] == [p.name for p in providers()]

    assert hugesync("scaleway", "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert one in found
    assert (one["measured"], one["checksum"], one["capabilities"]) == (None, None, {})
    assert one["limits"] == {"max_parts": 1000, "max_part": 5 * 10**9, "max_size": 5 * 10**12}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("minoi", " (did you mean minio?)"), ("r2", " (did you mean cloudflare-r2?)"), ("nothing like it", ""), ("x", "")],
)
def test_an_unknown_name_is_exit_2_and_what_may_have_been_meant(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hugesync(name) == 2
    out, err = capsys.readouterr()
    sentence = f"there is no provider {name!r} in the table{hint}; without a name all are listed"
    assert (out, err) == ("", f"hugesync providers: {sentence}\n")
    assert hugesync(name, "--json") == 2
    assert json.loads(capsys.readouterr().out)["state"] == "usage"


@pytest.mark.parametrize("args", [("a", "b"), ("--profile", "p")])
def test_what_the_command_does_not_take_is_exit_2(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert hugesync(*args) == 2
    assert "Try 'hugesync providers --help'" in capsys.readouterr().err


def test_a_key_that_is_none_of_ours_is_no_row() -> None:
    with pytest.raises(TypeError, match="endpiont"):
        s3_providers._provider({"name": "n", "title": "N", "sources": ["s"], "endpiont": ["e"]})
    with pytest.raises(UsageError):
        find("")
