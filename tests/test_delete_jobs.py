"""``--delete`` end to end: real processes, real servers, in every direction; killed in the middle; on another device."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import servers
from conftest import Bucket
from processes import Place, wait_until
from slowproxy import SlowProxy
from submit import Submit

MIB = 1 << 20


@pytest.fixture
def hs(tmp_path: Path, s3_bucket: Bucket) -> Submit:
    return Submit(tmp_path / "home", dict(s3_bucket.env))


def keys(bucket: Bucket, prefix: str) -> list[str]:
    listed = bucket.client.list_objects_v2(Bucket=bucket.bucket, Prefix=prefix).get("Contents", [])
    return sorted(o["Key"].removeprefix(prefix) for o in listed)


def write(root: Path, **files: bytes) -> Path:
    for name, body in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root


def names(root: Path) -> list[str]:
    return sorted(
        str(p.relative_to(root)) + ("/" if p.is_dir() and not p.is_symlink() else "") for p in root.rglob("*")
    )


def test_what_a_folder_lost_goes_at_the_store_with_its_signature(tmp_path: Path, hs: Submit, s3_bucket: Bucket) -> None:
    source, to = write(tmp_path / "src", a__x=b"x", gone__y=b"y", big=os.urandom(6 * MIB), k=b"k"), "up/"
    dest = f"s3://{s3_bucket.bucket}/{to}"
    assert hs("--delta-threshold", "5MiB", source, dest).code == 0
    assert keys(s3_bucket, to) == ["a/x", "big", "big.hssig", "gone/y", "k"]
    (source / "big").unlink()
    shutil.rmtree(source / "gone")
    (source / "k").write_bytes(b"changed")

    refused = hs("--delete", source, dest)
    assert (refused.code, refused.files["deleted"], refused.files["done"]) == (4, 0, 1)
    assert "2 of the 4 entries" in refused.err
    assert keys(s3_bucket, to) == ["a/x", "big", "big.hssig", "gone/y", "k"]

    shown = hs("--delete", "--max-delete", "2", "-n", "-v", source, dest)
    assert (shown.code, shown.files["deleted"], shown.json["requests"]["delete"]) == (0, 2, 0)
    assert shown.err.count("file would be deleted") == 2
    text = hs("--delete", "--max-delete", "2", "-v", "--backup-dir", "old", source, dest, json=False)
    assert text.code == 0
    assert "deleted 2" in text.out
    assert "file deleted" in text.err
    assert "path=gone/y" in text.err
    assert keys(s3_bucket, to) == ["a/x", "k", "old/big", "old/gone/y"]


def test_what_a_store_lost_goes_from_the_folder_with_its_folders(tmp_path: Path, hs: Submit, s3_bucket: Bucket) -> None:
    client = s3_bucket.client
    for key in ("a/x", "b/y", "k"):
        client.put_object(Bucket=s3_bucket.bucket, Key=f"down/{key}", Body=b"1")
    out = write(tmp_path / "out", b__old__deep__z=b"z", c__w=b"w", x_log=b"log", k=b"older")
    (out / "link").symlink_to(tmp_path)
    ran = hs("--delete", "--max-delete", "100%", "--exclude", "*_log", "--backup-dir", "old",
             f"s3://{s3_bucket.bucket}/down", out)  # fmt: skip
    assert (ran.code, ran.files["done"], ran.files["deleted"]) == (0, 3, 3), ran.err
    assert names(out) == [
        "a/", "a/x", "b/", "b/y", "k", "old/", "old/b/", "old/b/old/", "old/b/old/deep/", "old/b/old/deep/z", "old/c/",
        "old/c/w", "old/k", "old/link", "x_log",
    ]  # fmt: skip
    assert (out / "old" / "k").read_bytes() == b"older"
    assert os.readlink(out / "old" / "link") == str(tmp_path)
    ran = hs("--delete", "--delete-excluded", "--max-delete", "100%", "--exclude", "*_log", "--backup-dir", "old",
             f"s3://{s3_bucket.bucket}/down", out)  # fmt: skip
    assert (ran.code, ran.files["deleted"], (out / "old" / "x_log").read_bytes()) == (0, 1, b"log"), ran.err
    assert not (out / "x_log").exists()


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another device than the tests' own."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def test_a_source_on_another_device_than_last_time_is_refused_before_anything_happens(
    tmp_path: Path, hs: Submit, elsewhere: Path
) -> None:
    mounted, mount, dest = tmp_path / "disk", tmp_path / "mount", tmp_path / "dest"
    if mounted.parent.stat().st_dev == elsewhere.stat().st_dev:
        pytest.skip("the temporary folder lies on the same device")
    write(mounted, a=b"1", b=b"2")
    mount.symlink_to(mounted)
    assert hs(mount, dest).code == 0
    mount.unlink()
    mount.symlink_to(write(elsewhere, a=b"1", new=b"what lies below the mount point"))
    before = names(dest)

    for dry in ((), ("-n",)):
        refused = hs("--delete", "--max-delete", "100%", "--fresh", *dry, mount, dest)
        assert refused.code == 4
        assert "another device than last time" in refused.err
    assert names(dest) == before

    assert hs(mount, dest).code == 0, "without --delete nothing can be lost, and the new place is accepted"
    accepted = hs("-n", "--delete", "--max-delete", "100%", mount, dest)
    assert (accepted.code, accepted.files["deleted"]) == (0, 1), accepted.err


def test_a_single_file_has_no_extras(tmp_path: Path, hs: Submit) -> None:
    source = write(tmp_path / "src", f=b"1") / "f"
    ran = hs("--delete", source, tmp_path / "dest/")
    assert ran.code == 2
    assert "--delete means nothing" in ran.err
    assert not (tmp_path / "dest").exists()


def test_everything_killed_in_the_middle_of_the_deletes_and_the_same_command_again_deletes_the_rest(
    place: Place, proxy: SlowProxy, s3_bucket: Bucket, tmp_path: Path
) -> None:
    source, dest = write(tmp_path / "src", **{f"k{n}": b"kept" for n in range(5)}), f"s3://{s3_bucket.bucket}/to"
    client = s3_bucket.client
    for n in range(150):
        client.put_object(Bucket=s3_bucket.bucket, Key=f"to/d/x{n:03}", Body=b"1")
    proxy.hold_at("DELETE", nth=40)
    place.submit("--delete", "--max-delete", "100%", source, dest)
    proxy.held()
    place.kill_all()
    proxy.release()
    left = len(keys(s3_bucket, "to/d/"))
    assert 60 < left < 150

    ended = place.submit("--delete", "--max-delete", "100%", source, dest).finish()

    assert ended.code == 0, ended.err
    assert "going on with job" in ended.err
    assert keys(s3_bucket, "to/") == [f"k{n}" for n in range(5)]
    assert left - 20 <= ended.summary["files"]["deleted"] <= left  # what was on its way when the store was let go
    assert place.left() == []


@pytest.mark.full
def test_a_fleet_deletes_too_and_remembers_the_device(
    place: Place, broker: servers.ValkeyServer, s3_bucket: Bucket, tmp_path: Path
) -> None:
    data, to = (
        write(tmp_path / "data", **{f"k{n}": b"kept" for n in range(5)}, gone=b"1"),
        f"s3://{s3_bucket.bucket}/to",
    )
    fleet = ("--broker", broker.url)
    place.worker(broker.url, "--root", f"data={data}", "--concurrency", 1)

    def registered() -> bool:
        with redis.Redis.from_url(broker.url) as r:
            return bool(r.keys("hs:{workers}:*"))

    wait_until(registered, what="the worker")
    first = place.submit(*fleet, data, to).finish()
    assert first.code == 0, first.err
    (data / "gone").unlink()

    ended = place.submit(*fleet, "--delete", "--max-delete", "1", data, to).finish()

    assert ended.code == 0, ended.err
    assert ended.summary["files"]["deleted"] == 1
    assert keys(s3_bucket, "to/") == [f"k{n}" for n in range(5)]
    job = ended.summary["job_id"]
    with redis.Redis.from_url(broker.url, decode_responses=True) as r:
        devices = r.hget(f"hs:job:{{{job}}}:meta", "devices")
        assert devices
        r.hset(f"hs:job:{{{job}}}:meta", "devices", devices.replace('": "', '": "not '))
    (data / "k0").unlink()
    refused = place.submit(*fleet, "--delete", "--max-delete", "1", data, to).finish()
    assert refused.code == 4, refused.err
    assert "another device" in refused.err
    assert len(keys(s3_bucket, "to/")) == 5
