"""``--verify``: what no store proved is read back before it counts as done, and what looks the same is compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import compare
from chaos import CALM
from comparison import PLAIN, T
from hugesync_tasks.errors import AccessDenied
from hugesync_tasks.model import Meta
from hugesync_tasks.spec import Options
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.faults import Fault, FaultyStore
from hugesync_tasks.stores.memory import MemoryStore
from hugesync_tasks.stores.memory_bucket import MemoryBucket
from hugesync_tasks.summary import State, Summary
from hugesync_tasks.token import Token
from simulation import Simulation
from submit import Submit
from world import LIMITS, PART

BODIES = {"small": b"x" * 100, "link.rclonelink": b"small", "large": bytes(range(256)) * (3 * PART // 256) + b"end"}


class Sync(Simulation):
    """A sync of ``BODIES`` in this process; ``damage`` is what the destination makes of a body before it stores it."""

    limits = PLAIN
    damage: Callable[[bytes], bytes] = bytes

    def fill(self) -> None:
        pass

    def build(self, same_bucket: bool) -> None:
        super().build(same_bucket)
        self.source_bucket = MemoryBucket(PLAIN)
        self.dest_bucket = self.source_bucket if same_bucket else MemoryBucket(self.limits)
        self.source = MemoryStore(self.source_bucket, "src/")
        self.dest = MemoryStore(self.dest_bucket, "dst/")
        for key, body in BODIES.items():
            link = key.endswith("link")
            self.source.put(key, body, Meta(mtime_ns=T, link=link), ANY, Token())
        self.dest_bucket.wire = self.damage
        self.faulty = FaultyStore(self.dest)
        self.dest = self.faulty  # type: ignore[assignment]

    def run(self) -> Summary:
        with pytest.MonkeyPatch.context() as monkeypatch:
            try:
                return self.play(monkeypatch)
            finally:
                self.end()


def sync(
    verify: str, same_bucket: bool = False, kind: type[Sync] = Sync, fault: Fault | None = None
) -> tuple[Summary, Sync]:
    it = kind(3, CALM, options=Options(verify=verify), same_bucket=same_bucket)
    if fault:
        it.faulty.arm(fault)
    return it.run(), it


class Damaged(Sync):
    """One bit of everything is wrong when it arrives, and nobody notices."""

    damage = staticmethod(lambda body: bytes([body[0] ^ 1]) + body[1:] if body else body)


class Proving(Sync):
    limits = LIMITS


def test_without_it_what_no_store_proved_is_done_and_not_read_again() -> None:
    for kind in (Sync, Damaged):
        summary, _ = sync("none", kind=kind)
        assert (summary.state, summary.files["done"]) == (State.DONE, 3)
        assert summary.verified == 2, "the source's ETags prove what was read of the small ones, not what arrived"
        assert summary.bytes["received"] == summary.bytes["sent"], "the source was read, and nothing else"


@pytest.mark.parametrize("verify", ["transferred", "all"])
def test_what_no_store_proved_is_read_back_and_then_verified(verify: str) -> None:
    summary, _ = sync(verify)
    assert (summary.state, summary.files["done"], summary.verified) == (State.DONE, 3, 3)
    # this store tells no checksum of parts, so of the large file the source is read again, too
    assert summary.bytes["received"] == 2 * summary.bytes["sent"] + len(BODIES["large"])


@pytest.mark.parametrize("verify", ["transferred", "all"])
def test_what_the_destination_does_not_hold_fails_and_is_not_done(verify: str) -> None:
    summary, _ = sync(verify, kind=Damaged)
    assert (summary.state, summary.files["failed"], summary.files["done"], summary.verified) == (
        State.DONE_WITH_ERRORS, 3, 0, 0,
    )  # fmt: skip
    for failure in summary.failures:
        assert failure.failure_class == "permanent"
        assert "does not hold what was sent" in failure.message


def test_what_a_store_proved_is_not_read_again() -> None:
    summary, _ = sync("transferred", kind=Proving)
    assert (summary.files["done"], summary.verified) == (3, 3)
    assert summary.bytes["received"] == summary.bytes["sent"]


def test_what_the_store_copied_by_itself_is_compared_at_both_ends() -> None:
    summary, _ = sync("none", same_bucket=True)
    assert (summary.transfers["server_copy"], summary.verified, summary.bytes["received"]) == (2, 1, len(b"small"))
    summary, _ = sync("transferred", same_bucket=True)
    assert (summary.state, summary.transfers["server_copy"], summary.verified) == (State.DONE, 2, 3)
    copied = len(BODIES["small"]) + len(BODIES["large"])
    assert summary.bytes["received"] == 2 * copied + 2 * len(b"small")


def test_what_cannot_be_read_back_is_not_done_and_says_that_it_was_sent() -> None:
    summary, it = sync("transferred", fault=Fault(op="open", error=AccessDenied("permission denied"), times=9))
    messages = {f.path: f.message for f in summary.failures}
    for key in ("small", "link.rclonelink"):  # of the large one an intent could not be read before it was begun
        assert messages[key] == "sent, but it could not be read back: permission denied"
        assert it.dest_bucket.get("dst/" + key).body == BODIES[key]
    assert {f.failure_class for f in summary.failures} == {"needs_person"}
    assert summary.files["done"] == 0


@pytest.mark.parametrize(("verify", "sent"), [("none", 0), ("transferred", 0), ("all", 3)])
def test_with_all_what_only_looks_the_same_is_sent(verify: str, sent: int) -> None:
    it = Sync(3, CALM, options=Options(verify=verify))
    for key, body in BODIES.items():
        it.faulty.inner.put(key, b"?" + body[1:], Meta(mtime_ns=T, link=key.endswith("link")), ANY, Token())
    summary = it.run()
    assert (summary.files["done"], summary.verified) == (sent, sent)
    held = {key: it.dest_bucket.get("dst/" + key).body for key in BODIES}
    assert (held == BODIES) is (sent == 3)

    again = it.run()
    assert (again.files["skipped"], again.verified) == (3, 3 if verify == "all" else 0), "compared, and equal"


# --- as a user runs it --------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_between_folders_each_value_does_what_it_says(tmp_path: Path) -> None:
    hs = Submit(tmp_path / "home")
    source, dest = tmp_path / "source", tmp_path / "dest"
    for folder, body in ((source, b"here"), (dest, b"HERE")):
        folder.mkdir()
        (folder / "looks the same").write_bytes(body)
        os.utime(folder / "looks the same", ns=(0, T))
    (source / "small").write_bytes(b"small")
    (source / "link").symlink_to("small")
    (source / "large").write_bytes(os.urandom(17 << 20))
    dry = hs(str(source), str(dest), "-n", "--verify", "all")
    assert (dry.files["pending"], dry.code) == (4, 0)

    ran = hs(str(source), str(dest), "--verify", "transferred")
    assert (ran.files["done"], ran.json["verified"], ran.json["skipped_by"]["same"]) == (3, 3, 1)
    ran = hs(str(source), str(dest), "--verify", "all")
    assert (ran.files["done"], ran.json["verified"], ran.json["skipped_by"]["same"]) == (1, 4, 3)
    assert compare.differences(compare.tree(source), compare.tree(dest)) == []

    refused = hs(str(source), str(dest), "-n", "--verify", "transferred")
    assert refused.code == 2
    assert "a dry run sends nothing" in refused.err
