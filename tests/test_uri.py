"""Locations as users write them, and whether two of them overlap."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location
from hugesync_tasks.uri import Overlap, names_folder, overlap, parse_location


def test_a_local_path_becomes_absolute_without_following_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert parse_location("link/") == Location("file", local=f"{tmp_path}/link")
    assert parse_location("./x/../y").local == f"{tmp_path}/y"
    assert parse_location(".").local == str(tmp_path)
    assert parse_location("//srv//x/").local == "/srv/x"
    assert parse_location("/").local == "/"


def test_a_path_may_look_like_many_things() -> None:
    for text in ("/a:b", "/s3:/x", "/a b\n", "/100%25", os.fsdecode(b"/\xff")):
        assert parse_location(text).local == text


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("file:///a/b", "/a/b"),
        ("FILE:///a/", "/a"),
        ("file://localhost/a%20b", "/a b"),
        ("file:///%ff", os.fsdecode(b"/\xff")),
        ("file:///a?b#c", "/a?b#c"),
    ],
)
def test_a_file_uri_is_percent_decoded(text: str, local: str) -> None:
    assert parse_location(text) == Location("file", local=local)


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/data", "bucket", "data/"),
        ("s3://bucket/data/", "bucket", "data/"),
        ("S3://my.bucket-1/a b/%20?#", "my.bucket-1", "a b/%20?#/"),
        ("s3://bucket/x\ny", "bucket", "x\ny/"),
        ("gs://my.bucket_1/a b", "my.bucket_1", "a b/"),
        ("az://a-container", "a-container", ""),
        ("az://$web/x/", "$web", "x/"),
    ],
)
def test_a_stores_uri_is_taken_literally_and_its_prefix_ends_in_a_slash(text: str, bucket: str, prefix: str) -> None:
    scheme = text[:2].lower()
    assert parse_location(text, "prod") == Location(scheme, bucket=bucket, prefix=prefix, profile="prod")


@pytest.mark.parametrize(
    "text",
    [
        "", "\0", "/a\0b", "file:///a%00b", "file://host/a", "file://", "file://a", "s3://", "s3:///x",
        "s3://b_!/x", "s3://-ab", "s3://a", "s3://bucket//x", "s3://bucket/x//y", "s3://bucket/x//", "s3://bucket//",
        "gs://Bucket/x", "gs://", "az://c/x", "az://a--b/x", "az://", "http://h/x", "ftp://h", os.fsdecode(b"s3://bucket/\xff"),
    ],
)  # fmt: skip
def test_a_bad_location_is_a_usage_error_that_shows_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(text)
    assert not text or repr(text) in str(caught.value)


def test_a_profile_for_a_local_path_is_refused() -> None:
    with pytest.raises(UsageError, match="prod"):
        parse_location("/a", "prod")


def test_a_trailing_slash_or_a_bare_bucket_names_a_folder() -> None:
    folders = ("/a/", "a/", ".", "..", "a/.", "file:///a/", "s3://b", "s3://b/", "s3://b/x/")
    assert [names_folder(t) for t in folders] == [True] * len(folders)
    assert [names_folder(t) for t in ("/a", "a", "file:///a", "s3://b/x", "a..")] == [False] * 5


def s3(prefix: str, bucket: str = "b", endpoint: str = "") -> Location:
    return Location("s3", bucket=bucket, prefix=prefix, endpoint=endpoint)


def test_prefixes_overlap_by_whole_segments_only() -> None:
    assert overlap(s3("data/"), s3("data/")) is Overlap.EQUAL
    assert overlap(s3("data/x/"), s3("data/")) is Overlap.INSIDE
    assert overlap(s3(""), s3("data/")) is Overlap.CONTAINS
    assert overlap(s3("data/"), s3("data2/")) is Overlap.NONE
    assert overlap(s3("data/"), s3("data/", bucket="c")) is Overlap.NONE
    assert overlap(s3("data/"), s3("data/", endpoint="http://other")) is Overlap.NONE
    assert overlap(s3(""), Location("file", local="/")) is Overlap.NONE
    assert overlap(s3("data/"), replace(s3("data/"), profile="other")) is Overlap.EQUAL


def test_local_paths_overlap_as_they_really_are(tmp_path: Path) -> None:
    def at(name: str) -> Location:
        return Location("file", local=str(tmp_path / name))

    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a2").mkdir()
    (tmp_path / "to_a").symlink_to("a")
    assert overlap(at("a"), at("a")) is Overlap.EQUAL
    assert overlap(at("to_a"), at("a")) is Overlap.EQUAL
    assert overlap(at("to_a/b"), at("a")) is Overlap.INSIDE
    assert overlap(at("a"), at("to_a/b/not/yet/there")) is Overlap.CONTAINS
    assert overlap(at("a"), at("a2")) is Overlap.NONE
    assert overlap(at("missing"), at("missing2")) is Overlap.NONE
    assert overlap(at("missing"), at("missing")) is Overlap.EQUAL
    assert overlap(Location("file", local="/"), at("a")) is Overlap.CONTAINS


def test_two_names_of_one_folder_are_equal_by_inode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount, or another letter case: other paths, the same device and inode."""
    import hugesync_tasks.uri as uri

    known = {"/one": (1, 2), "/two": (1, 2), "/two/x": (1, 3)}
    monkeypatch.setattr(uri, "_identity", known.get)
    assert overlap(Location("file", local="/one"), Location("file", local="/two")) is Overlap.EQUAL
    assert overlap(Location("file", local="/two/x"), Location("file", local="/one")) is Overlap.INSIDE
