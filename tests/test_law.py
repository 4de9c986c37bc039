"""found = done + skipped + failed + pending, for files and bytes, whatever lies in a tree, in a dry run and in the run."""

from __future__ import annotations

import os
import random
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Bucket
from scale import scaled
from submit import OUTCOMES, Ran, Submit

KIB, MIB = 1 << 10, 1 << 20
SEEDS = range(scaled(80, 5))
SIZES = (0, 1, 100, 64 * KIB, 9 * MIB, 17 * MIB)


@dataclass(frozen=True)
class Facts:
    """What was planted, by what must become of it: sizes by path."""

    readable: dict[str, int]
    unreadable: dict[str, int]
    reserved: dict[str, int]
    special: tuple[str, ...]
    closed: tuple[str, ...]  # folders that nobody may read; nobody can say what is in them

    @property
    def found(self) -> tuple[int, int]:
        sizes = [*self.readable.values(), *self.unreadable.values(), *self.reserved.values()]
        return len(sizes) + len(self.special), sum(sizes)


def plant(root: Path, chance: random.Random) -> Facts:
    """A small tree with failures of every kind; at most one file of each large size."""
    facts = Facts({}, {}, {}, (), ())
    folders = [root, *(root / f"d{n}" for n in range(chance.randrange(4))), root / "d0" / "deep" / "er"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    large = list(SIZES[4:])
    for n in range(chance.randrange(1, 25)):
        kind = chance.choice(["readable"] * 5 + ["unreadable", "reserved", "ours", "link"])
        name = {"reserved": f"f{n:02}.rclonelink", "ours": f".hugesync-f{n:02}"}.get(kind, f"f{n:02}")
        path = chance.choice(folders) / name
        size = large.pop() if large and chance.random() < 0.1 else chance.choice(SIZES[:4])
        key = str(path.relative_to(root))
        if kind == "link":
            path.symlink_to("x" * (size % 200 + 1))
            facts.readable[key] = size % 200 + 1
            continue
        path.write_bytes(chance.randbytes(size))
        if kind == "unreadable":
            path.chmod(0)
        {"readable": facts.readable, "unreadable": facts.unreadable}.get(kind, facts.reserved)[key] = size
    return Facts(facts.readable, facts.unreadable, facts.reserved, _special(chance, folders), _closed(chance, folders))


def _special(chance: random.Random, folders: list[Path]) -> tuple[str, ...]:
    made = []
    for n in range(chance.randrange(3)):
        path = chance.choice(folders) / f"s{n}"
        if chance.random() < 0.5:
            os.mkfifo(path)
        else:
            here = os.open(path.parent, os.O_PATH)  # a socket's path may have 107 bytes only
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(f"/proc/self/fd/{here}/{path.name}")
            os.close(here)
        made.append(path.name)
    return tuple(made)


def _closed(chance: random.Random, folders: list[Path]) -> tuple[str, ...]:
    made = []
    for n in range(chance.randrange(2)):
        path = chance.choice(folders) / f"closed{n}"
        path.mkdir()
        (path / "unseen").write_bytes(b"unseen")
        path.chmod(0)
        made.append(path.name)
    return tuple(made)


def assert_law(ran: Ran) -> None:
    for what in (ran.files, ran.bytes):
        assert what["found"] == sum(what[outcome] for outcome in OUTCOMES), ran.json
        assert min(what.values()) >= 0, ran.json


@pytest.mark.parametrize("seed", SEEDS)
def test_every_entry_of_a_random_tree_is_counted_once_by_the_dry_run_and_by_the_run(
    tmp_path: Path, s3_bucket: Bucket, seed: int
) -> None:
    chance = random.Random(seed)
    source = tmp_path / "source"
    facts = plant(source, chance)
    hs = Submit(tmp_path / "home", dict(s3_bucket.env))
    dest = chance.choice([str(tmp_path / "dest"), f"s3://{s3_bucket.bucket}/law"])
    smaller = chance.choice([(), (), ("--max-size", "64KiB"), ("--min-size", "1")])

    dry, real = hs(str(source), dest, "-n", *smaller, weak=True), hs(str(source), dest, *smaller, weak=True)

    for ran in (dry, real):
        assert_law(ran)
        assert (ran.files["found"], ran.bytes["found"]) == facts.found, ran.json
        assert ran.json["skipped_by"]["special"] == len(facts.special)
        assert ran.files["skipped"] == sum(ran.json["skipped_by"].values())
        listed = {f["path"] for f in ran.json["failures"] if not f["path"].endswith("/")}
        assert len(listed) == ran.files["failed"], ran.json
        assert ran.code == (1 if ran.json["failures"] else 0)
    assert dry.files["done"] == real.files["pending"] == dry.bytes["done"] == real.bytes["pending"] == 0
    for name in ("skipped", "found"):
        assert (dry.files[name], dry.bytes[name]) == (real.files[name], real.bytes[name])
    # only reading shows that a file cannot be read
    unread = real.files["failed"] - dry.files["failed"], real.bytes["failed"] - dry.bytes["failed"]
    assert (dry.files["pending"] - real.files["done"], dry.bytes["pending"] - real.bytes["done"]) == unread
    if not smaller:
        assert unread == (len(facts.unreadable), sum(facts.unreadable.values()))
        assert (real.files["done"], real.bytes["done"]) == (len(facts.readable), sum(facts.readable.values()))
        assert real.files["failed"] == len(facts.unreadable) + len(facts.reserved)
    closed = {f["path"].rstrip("/").rpartition("/")[2] for f in real.json["failures"]}
    assert {*facts.closed} <= closed
    for folder in source.rglob("closed*"):
        folder.chmod(0o700)
