"""SOURCE and DEST in every form: what goes where, what a single file becomes, what links, holes and folders become."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import compare
from conftest import Bucket
from scale import mostly_full, scaled
from submit import Submit, assert_moved_nothing

MIB = 1 << 20


@pytest.fixture
def hs(tmp_path: Path) -> Submit:
    return Submit(tmp_path / "home")


@pytest.fixture
def s3(tmp_path: Path, s3_bucket: Bucket) -> Iterator[tuple[Submit, Bucket]]:
    return Submit(tmp_path / "home", s3_bucket.env), s3_bucket


def keys(bucket: Bucket) -> list[str]:
    return sorted(o["Key"] for o in bucket.client.list_objects_v2(Bucket=bucket.bucket).get("Contents", []))


def body(bucket: Bucket, key: str) -> bytes:
    return bucket.client.get_object(Bucket=bucket.bucket, Key=key)["Body"].read()


@pytest.mark.parametrize(
    ("dest", "existing", "becomes"),
    [
        ("new name", None, "new name"),
        ("deep/er/new", None, "deep/er/new"),
        ("folder/", None, "folder/report.txt"),
        ("there", "folder", "there/report.txt"),
        ("there", "file", "there"),
        (".", None, "report.txt"),
    ],
)
def test_a_single_local_file_goes_to_dest_or_into_it(
    tmp_path: Path, hs: Submit, dest: str, existing: str | None, becomes: str
) -> None:
    (tmp_path / "report.txt").write_bytes(b"one file")
    os.utime(tmp_path / "report.txt", ns=(0, 1_600_000_000_123_456_789))
    work = tmp_path / "work"
    work.mkdir()
    if existing == "folder":
        (work / dest).mkdir()
    elif existing == "file":
        (work / dest).write_bytes(b"older and longer")
    ran = hs("../report.txt", dest, cwd=work)
    assert (ran.code, ran.files["found"], ran.files["done"]) == (0, 1, 1), (ran.json, ran.err)
    assert [n for n, f in compare.tree(work).items() if f.kind == "file"] == [becomes.encode()]
    assert (work / becomes).read_bytes() == b"one file"
    assert (work / becomes).stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert_moved_nothing(hs("../report.txt", dest, cwd=work))


def test_a_single_file_travels_to_a_key_into_a_prefix_into_a_bucket_and_back(
    tmp_path: Path, s3: tuple[Submit, Bucket]
) -> None:
    hs, bucket = s3
    source = tmp_path / "report.txt"
    source.write_bytes(b"one file")
    os.utime(source, ns=(0, 1_600_000_000_123_456_789))
    root = f"s3://{bucket.bucket}"
    for dest in (f"{root}/a/name", f"{root}/into/", root):
        assert hs(str(source), dest).files["done"] == 1
    assert keys(bucket) == ["a/name", "into/report.txt", "report.txt"]
    assert {body(bucket, key) for key in keys(bucket)} == {b"one file"}
    (tmp_path / "there").mkdir()
    backs = {"back": "back", "there": "there/name"}
    for dest, becomes in backs.items():
        ran = hs(f"{root}/a/name", dest, cwd=tmp_path)
        assert (ran.code, ran.files["done"], ran.bytes["received"]) == (0, 1, 8), (ran.json, ran.err)
        assert (tmp_path / becomes).read_bytes() == b"one file"
        assert (tmp_path / becomes).stat().st_mtime_ns == source.stat().st_mtime_ns
    assert_moved_nothing(hs(f"{root}/a/name", "back", cwd=tmp_path))
    copied = hs(f"{root}/a/name", f"{root}/copied")
    assert (copied.files["done"], copied.moved, copied.bytes["copied_server_side"]) == (1, (0, 0), 8)
    assert body(bucket, "copied") == b"one file"


def test_a_single_large_file_travels_in_parts(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    hs.env["HUGESYNC_PART_SIZE"] = "5MiB"
    source = tmp_path / "big"
    source.write_bytes(os.urandom(scaled(200 * MIB, 11 * MIB)))
    size = source.stat().st_size
    up = hs(str(source), f"s3://{bucket.bucket}/big")
    assert (up.code, up.bytes["sent"], up.bytes["done"]) == (0, size, size), (up.json, up.err)
    assert up.json["requests"]["part"] >= -(-size // (5 * MIB))
    down = hs(f"s3://{bucket.bucket}/big", str(tmp_path / "back"))
    assert (down.code, down.bytes["received"]) == (0, size), (down.json, down.err)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert down.json["verified"] == up.json["verified"] == 1


@pytest.mark.full
def test_a_prefix_is_never_taken_for_the_beginning_of_a_name(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    for key in ("data/x", "data2/x", "data2", "dat", "data.txt"):
        bucket.client.put_object(Bucket=bucket.bucket, Key=key, Body=key.encode())
    for n, prefix in enumerate(("data", "data/")):
        ran = hs(f"s3://{bucket.bucket}/{prefix}", str(tmp_path / f"to{n}"))
        assert (ran.code, ran.files["found"]) == (0, 1), (ran.json, ran.err)
        assert list(compare.tree(tmp_path / f"to{n}")) == [b"x"]
        assert (tmp_path / f"to{n}" / "x").read_bytes() == b"data/x"
    (tmp_path / "local" / "a").mkdir(parents=True)
    (tmp_path / "local" / "a" / "f").write_bytes(b"")
    assert hs(str(tmp_path / "local"), f"s3://{bucket.bucket}/data").files["done"] == 1
    assert "data/a/f" in keys(bucket)


@pytest.mark.full
def test_a_file_url_names_a_path_with_every_byte_it_has(tmp_path: Path, hs: Submit) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"sp ace#100% \xff")
    os.mkdir(folder)
    with open(os.path.join(folder, b"f"), "wb") as file:
        file.write(b"hi")
    ran = hs("file://" + quote(folder), f"file://localhost{tmp_path}/to")
    assert (ran.code, ran.files["done"]) == (0, 1), (ran.json, ran.err)
    assert (tmp_path / "to" / "f").read_bytes() == b"hi"
    assert_moved_nothing(hs(folder, str(tmp_path / "to")))  # the same place, as a path


def test_a_path_may_begin_with_a_dash_after_two_dashes(tmp_path: Path, hs: Submit) -> None:
    (tmp_path / "-n").mkdir()
    (tmp_path / "-n" / "f").write_bytes(b"hi")
    ran = hs("--json", "--", "-n", "--to", cwd=tmp_path, json=False)
    assert ran.code == 0, ran.err
    assert (tmp_path / "--to" / "f").read_bytes() == b"hi"


def linked(top: Path) -> Path:
    source = top / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "inside").write_bytes(b"inside")
    (source / "file").write_bytes(b"content")
    (source / "to file").symlink_to("file")
    (source / "to folder").symlink_to("folder")
    return source


def test_links_are_kept_as_links_and_followed_or_skipped_on_request(tmp_path: Path, hs: Submit) -> None:
    source = linked(tmp_path)
    kept = hs(str(source), str(tmp_path / "kept"))
    assert (kept.code, kept.files["done"]) == (0, 4)
    assert os.readlink(tmp_path / "kept" / "to file") == "file"
    followed = hs(str(source), str(tmp_path / "followed"), "--copy-links")
    assert (followed.code, followed.files["done"]) == (0, 4), (followed.json, followed.err)
    there = compare.tree(tmp_path / "followed", "names")
    assert not [name for name, facts in there.items() if facts.kind == "link"]
    assert (tmp_path / "followed" / "to file").read_bytes() == b"content"
    assert (tmp_path / "followed" / "to folder" / "inside").read_bytes() == b"inside"
    skipped = hs(str(source), str(tmp_path / "skipped"), "--skip-links")
    assert (skipped.code, skipped.files["found"], skipped.files["done"]) == (0, 4, 2)
    assert skipped.json["skipped_by"]["filtered"] == 2
    assert sorted(compare.tree(tmp_path / "skipped", "none")) == [b"file", b"folder/inside"]


def test_following_links_lists_what_leads_nowhere_or_round_in_circles(tmp_path: Path, hs: Submit) -> None:
    source = linked(tmp_path)
    (source / "dangling").symlink_to("nowhere")
    (source / "folder" / "round").symlink_to("..")
    (source / "itself").symlink_to("itself")
    ran = hs(str(source), str(tmp_path / "to"), "-L")
    assert ran.code == 1
    assert {"dangling", "itself"} <= {os.path.basename(path) for path in ran.failures}, ran.failures
    assert any("round" in path for path in ran.failures), ran.failures
    assert (tmp_path / "to" / "to folder" / "inside").read_bytes() == b"inside"


@pytest.mark.full
def test_links_skip_and_follow_on_a_store_as_they_do_locally(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    source, uri = linked(tmp_path), f"s3://{bucket.bucket}"
    assert hs(str(source), f"{uri}/followed", "-L").files["done"] == 4
    assert hs(str(source), f"{uri}/kept").files["done"] == 4
    assert [k for k in keys(bucket) if k.endswith(".rclonelink")] == [
        "kept/to file.rclonelink",
        "kept/to folder.rclonelink",
    ]
    assert body(bucket, "followed/to folder/inside") == b"inside"
    down = hs(f"{uri}/kept", str(tmp_path / "down"), "--skip-links")
    assert (down.code, down.files["done"], down.json["skipped_by"]["filtered"]) == (0, 2, 2), down.json
    assert sorted(compare.tree(tmp_path / "down", "none")) == [b"file", b"folder/inside"]


def test_no_write_passes_through_a_link_at_the_destination(tmp_path: Path, hs: Submit) -> None:
    source, outside, dest = tmp_path / "source", tmp_path / "outside", tmp_path / "dest"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "f").write_bytes(b"new")
    (source / "file").write_bytes(b"new")
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    ran = hs(str(source), str(dest))
    assert sorted(p.name for p in outside.iterdir()) == ["file"]
    assert (outside / "file").read_bytes() == b"precious"
    if ran.code == 0:
        assert compare.differences(compare.tree(source, "names"), compare.tree(dest, "names")) == []
    else:
        assert ran.failures


def test_a_file_that_was_a_link_is_a_file_after_a_second_run(tmp_path: Path, hs: Submit) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    (source / "name").symlink_to("elsewhere")
    assert hs(str(source), str(dest)).code == 0
    (source / "name").unlink()
    (source / "name").write_bytes(b"a file now")
    ran = hs(str(source), str(dest))
    assert ran.code == 0, ran.failures
    assert compare.differences(compare.tree(source), compare.tree(dest)) == []


def sparse(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"an island" * 1000)


@pytest.mark.parametrize("size", mostly_full([4 * MIB, 40 * MIB], 1), ids=["in a batch", "in parts"])
def test_a_sparse_file_stays_sparse(tmp_path: Path, s3: tuple[Submit, Bucket], size: int) -> None:
    hs, bucket = s3
    source = tmp_path / "source"
    source.mkdir()
    sparse(source / "holes", size)
    if (source / "holes").stat().st_blocks * 512 > size // 2:
        pytest.skip("this filesystem has no holes")
    uri = f"s3://{bucket.bucket}/holes"
    for a, b in ((source, tmp_path / "local"), (source, uri), (uri, tmp_path / "down")):
        ran = hs(str(a), str(b))
        assert (ran.code, ran.bytes["done"]) == (0, size), (ran.json, ran.err)
    for there in (tmp_path / "local" / "holes", tmp_path / "down" / "holes"):
        assert there.read_bytes() == (source / "holes").read_bytes()
        assert there.stat().st_size == size
        assert there.stat().st_blocks * 512 <= size // 4, f"{there} takes {there.stat().st_blocks * 512} bytes"


def test_folders_keep_their_modes_and_times_though_files_are_written_into_them(tmp_path: Path, hs: Submit) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    inner = source / "closed" / "nested"
    (inner / "empty").mkdir(parents=True)
    (inner / "file").write_bytes(b"inside")
    for n, folder in enumerate((inner / "empty", inner, source / "closed")):
        os.utime(folder, ns=(0, 1_500_000_000_000_000_001 + n))
        folder.chmod(0o555)
    for weak in (True, False):  # without root's powers, too: the folder must be written before it is closed
        target = dest / str(weak)
        ran = hs(str(source), str(target), weak=weak)
        assert ran.code == 0, (ran.failures, ran.err)
        assert compare.differences(compare.tree(source), compare.tree(target)) == []
        assert_moved_nothing(hs(str(source), str(target), weak=weak))


def test_empty_folders_arrive_everywhere_and_an_empty_tree_is_a_tree(tmp_path: Path, s3: tuple[Submit, Bucket]) -> None:
    hs, bucket = s3
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / ".hidden").mkdir()
    (source / "c").mkdir()
    (source / "c" / "f").write_bytes(b"")
    assert hs(str(source), f"s3://{bucket.bucket}/up").code == 0
    assert keys(bucket) == ["up/.hidden/", "up/a/b/", "up/c/f"]
    assert hs(f"s3://{bucket.bucket}/up", f"s3://{bucket.bucket}/over").code == 0
    assert hs(f"s3://{bucket.bucket}/over", str(tmp_path / "down")).code == 0
    names = compare.tree(source, "names")
    assert compare.differences(names, compare.tree(tmp_path / "down", "names"), {"mtime_ns", "mode"}) == []
    (tmp_path / "nothing").mkdir()
    ran = hs(str(tmp_path / "nothing"), str(tmp_path / "to"))
    assert (ran.code, ran.files["found"]) == (0, 0)


@pytest.mark.full
def test_a_single_link_is_a_link_under_its_new_name_and_followed_on_request(tmp_path: Path, hs: Submit) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"what the link points to")
    (source / "link").symlink_to("file")
    (source / "dangling").symlink_to("nowhere")

    assert hs(source / "link", tmp_path / "kept").code == 0
    assert os.readlink(tmp_path / "kept") == "file"
    assert hs(source / "dangling", tmp_path / "also kept").code == 0
    assert os.readlink(tmp_path / "also kept") == "nowhere"
    followed = hs("--copy-links", source / "link", tmp_path / "followed", timeout=60)
    assert followed.code == 0
    assert not (tmp_path / "followed").is_symlink()
    assert (tmp_path / "followed").read_bytes() == b"what the link points to"
    nothing = hs("--copy-links", source / "dangling", tmp_path / "never")
    assert nothing.code == 2
    assert "points nowhere" in nothing.err


def test_a_tree_whose_first_file_is_a_link_that_is_followed_is_served(tmp_path: Path, hs: Submit) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "z file").write_bytes(b"bytes")
    (source / "a link").symlink_to("z file")
    assert hs("--copy-links", source, tmp_path / "dest", timeout=60).files["done"] == 2
    assert (tmp_path / "dest" / "a link").read_bytes() == b"bytes"
