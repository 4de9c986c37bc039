"""What must be true after a simulated job: the destination, the law, what is left behind, and the counters."""

from __future__ import annotations

from hugesync_tasks.summary import Summary
from simulation import Simulation


def check(sim: Simulation, summary: Summary) -> None:
    """The oracle: the destination, the law, what is left behind, and the counters."""
    sim.settle_down()
    failed = {f.path: f for f in summary.failures}
    disturbed = bool(sim.rivals or sim.edits)
    assert summary.scan_complete
    assert sim.unseen == []
    chaos = sim.chaos_began
    if not (chaos.crash or chaos.ledger or chaos.outage or chaos.failover):
        assert sim.restarts == 0, "nothing but the loss of the coordinator or the ledger may end a run"
    assert sim.keys(sim.source_bucket, "src/") == sim.keys_found
    check_bytes(sim, set(failed))
    check_leftovers(sim)
    files, bytes_ = summary.files, summary.bytes
    assert files["found"] == sim.found
    assert files["pending"] == bytes_["pending"] == 0
    assert files["failed"] == len(failed) + summary.failures_omitted
    assert sum(summary.transfers.values()) == files["done"]
    for failure in failed.values():
        if failure.failure_class == "conflict":
            assert disturbed, f"a conflict without a rival: {failure}"
            if not sim.edits:
                assert sim.dest_bucket.get("dst/" + failure.path).body in sim.rivals_bytes[failure.path]
    if disturbed:
        return
    assert summary.conflicts == 0
    assert bytes_["found"] == sum(len(body) for bodies in sim.versions.values() for body in bodies)
    done = sim.found - len(sim.equal) - len(failed)
    assert files["done"] <= done
    # what was finished beyond K, or by an attempt that a failover made the ledger forget, compares equal when it is met again
    if not (sim.restarts or sim.failovers):
        assert files["done"] >= done - len(sim.compared)
    if not sim.chaotic:
        assert files["done"] == done
        assert summary.skipped_by["same"] == len(sim.equal)


def check_bytes(sim: Simulation, failed: set[str]) -> None:
    dest = sim.dest_bucket.dump()
    assert [k for k in sim.keys(sim.dest_bucket, "dst/") if k not in sim.versions and ".hugesync" not in k] == []
    for key, versions in sim.versions.items():
        there = dest.get("dst/" + key)
        if key in failed:
            continue
        assert there is not None, f"{key} is missing and not listed as failed"
        assert there.body in versions | sim.rivals_bytes[key], f"{key} is nobody's version, and not listed as failed"


def check_leftovers(sim: Simulation) -> None:
    intents = [k for k in sim.dest_bucket.dump() if k.startswith("dst/") and ".hugesync" in k]
    uploads = {u.id: u.key for u in sim.dest_bucket.list_uploads("dst/") if u.id in sim.named}
    forgotten = (sim.flushes or sim.failovers) and sim.restarts
    if forgotten or sim.failovers > 1 or (sim.edits and (sim.chaotic or sim.restarts)):
        return  # who knew of them is gone (a begin repeated by one failover, forgotten by the next), or looks for another generation; ``uploads abort --older-than`` finds them
    assert not intents, f"left behind: {intents}"
    assert not uploads, f"left behind: {uploads}"


def check_second_run(sim: Simulation, summary: Summary) -> None:
    """Nothing to do costs nothing."""
    assert str(summary.state) == "done"
    assert summary.files["skipped"] == summary.files["found"] == sim.found
    assert summary.bytes["sent"] == summary.bytes["copied_server_side"] == 0
