"""A whole job run by a user who is not root, also where the tests are run by root."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import compare
from conftest import Bucket
from submit import ORDINARY, Submit, assert_moved_nothing

SOMEBODY = 1234  # neither root nor who runs the test


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the ordinary user's own, reached through folders that are open to everybody."""
    folder = Path(tempfile.mkdtemp(prefix="hso"))
    os.chown(folder, ORDINARY, ORDINARY if os.geteuid() == 0 else -1)
    yield folder
    shutil.rmtree(folder)


def notes(text: str) -> list[str]:
    return re.findall(r"note +(.*)", text)


def test_owners_that_only_root_may_set_are_a_counted_note_and_the_job_is_done(place: Path, s3_bucket: Bucket) -> None:
    keys: dict[str, dict[str, str]] = {"f": {}, "sub/g": {}, "link.rclonelink": {"hugesync-type": "symlink"}}
    for key, more in keys.items():
        owner = {"hugesync-uid": str(SOMEBODY), "hugesync-gid": str(SOMEBODY), "mtime": "1600000000.000000000"}
        s3_bucket.client.put_object(Bucket=s3_bucket.bucket, Key=f"x/{key}", Body=b"body", Metadata={**owner, **more})
    hs = Submit(place / "home", dict(s3_bucket.env))
    uri = f"s3://{s3_bucket.bucket}/x"

    asked = hs(uri, str(place / "down"), "-a", ordinary=True, json=False)

    assert asked.code == 0, asked.err
    assert "3 × chown not permitted" in notes(asked.out)
    assert (place / "down" / "sub" / "g").read_bytes() == b"body"
    assert os.readlink(place / "down" / "link") == "body"
    for name in ("f", "sub", "sub/g", "link"):
        assert os.lstat(place / "down" / name).st_uid == ORDINARY, name
    assert (place / "down" / "f").stat().st_mtime_ns == 1_600_000_000 * 10**9
    assert_moved_nothing(hs(uri, str(place / "down"), "-a", ordinary=True))
    unasked = hs(uri, str(place / "plain"), ordinary=True, json=False)
    assert (unasked.code, [n for n in notes(unasked.out) if "chown" in n]) == (0, []), unasked.out


@pytest.mark.full
def test_ones_own_owner_is_stored_on_request_only(place: Path, s3_bucket: Bucket) -> None:
    (place / "f").write_bytes(b"x")
    os.chown(place / "f", ORDINARY, -1)
    hs = Submit(place / "home", dict(s3_bucket.env))
    for n, (options, stored) in enumerate({("-a",): True, ("-o", "-g"): True, (): False}.items()):
        assert hs(str(place / "f"), f"s3://{s3_bucket.bucket}/{n}", *options, ordinary=True).code == 0
        metadata = s3_bucket.client.head_object(Bucket=s3_bucket.bucket, Key=str(n))["Metadata"]
        assert metadata.get("hugesync-uid") == (str(ORDINARY) if stored else None), options
        assert ("hugesync-gid" in metadata) is stored, options


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a tree of somebody else's; the test above needs none")
def test_somebody_elses_tree_is_copied_by_whoever_can_read_it(place: Path) -> None:
    (place / "source" / "sub").mkdir(parents=True)
    (place / "source" / "sub" / "f").write_bytes(b"x")
    (place / "source" / "link").symlink_to("sub/f")
    for name in ("sub/f", "sub", "link", "."):
        os.chown(place / "source" / name, SOMEBODY, SOMEBODY, follow_symlinks=False)
    ran = Submit(place / "home")(str(place / "source"), str(place / "dest"), "-a", ordinary=True, json=False)
    assert ran.code == 0, ran.err
    (note,) = [n for n in notes(ran.out) if "chown" in n]
    assert note == "3 × chown not permitted"
    assert compare.differences(compare.tree(place / "source"), compare.tree(place / "dest")) == []
    assert (place / "dest" / "sub" / "f").stat().st_uid == ORDINARY


def test_what_an_ordinary_user_may_not_write_is_listed_and_the_rest_is_done(place: Path) -> None:
    (place / "source" / "closed").mkdir(parents=True)
    (place / "source" / "closed" / "f").write_bytes(b"new")
    (place / "source" / "open").write_bytes(b"new")
    hs = Submit(place / "home")
    assert hs(str(place / "source"), str(place / "dest"), ordinary=True).files["done"] == 2
    (place / "source" / "closed" / "f").write_bytes(b"newer")
    (place / "source" / "open").write_bytes(b"newer")
    (place / "dest" / "closed").chmod(0o555)
    ran = hs(str(place / "source"), str(place / "dest"), ordinary=True)
    assert (ran.code, ran.files["done"], ran.classes) == (1, 1, {"closed/f": "needs_person"}), (ran.json, ran.err)
    assert (place / "dest" / "closed" / "f").read_bytes() == b"new"
    assert (place / "dest" / "open").read_bytes() == b"newer"
    (place / "dest" / "closed").chmod(0o755)
