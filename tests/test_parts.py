"""Part sizes, ids that outlive a release, and the tally's law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.errors import TooLarge
from hugesync_tasks.identity import file_id, fingerprint, generation, job_id
from hugesync_tasks.model import Entry, Kind, Meta
from hugesync_tasks.parts import COMFORTABLE, part_count, part_range, part_size
from hugesync_tasks.spec import RULES_VERSION, Selection
from hugesync_tasks.stores.base import GIB, MIB, TIB, Limits
from hugesync_tasks.tally import REASONS, Tally

S3 = Limits("s3")


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (0, 16 * MIB),
        (1, 16 * MIB),
        (2 * GIB, 16 * MIB),
        (16 * MIB * 1000, 16 * MIB),
        (16 * MIB * 1000 + 1, 17 * MIB),
        (32 * GIB, 33 * MIB),
        (64 * MIB * 1000, 64 * MIB),
        (64 * MIB * 10_000, 64 * MIB),
        (64 * MIB * 10_000 + 1, 65 * MIB),
        (5 * TIB, 525 * MIB),
    ],
)
def test_parts_are_16_to_64_mib_and_larger_only_when_ten_thousand_would_not_do(size: int, part: int) -> None:
    assert part_size(size, S3) == part


@given(st.integers(0, 5 * TIB), st.integers(1, 200 * MIB))
def test_parts_obey_the_store_and_cover_the_file_exactly(size: int, wanted: int) -> None:
    part = part_size(size, S3, wanted)
    assert part % MIB == 0
    assert S3.min_part <= part <= S3.max_part
    count = part_count(size, part)
    assert count <= S3.max_parts
    assert part <= max(COMFORTABLE, wanted + MIB) or part_count(size, part - MIB) > S3.max_parts
    numbers = {1, 2, count // 2, count - 1, count} & set(range(1, count + 1))
    for n in numbers:
        start, length = part_range(n, size, part)
        assert start == (n - 1) * part
        assert length == part or n == count
        assert start + length == size or n < count
    for outside in (0, count + 1):
        with pytest.raises(ValueError, match="part"):
            part_range(outside, size, part)


@given(
    st.integers(0, 10**7), st.integers(1, 10**4), st.integers(1, 1000), st.integers(10**4, 10**7), st.integers(1, 10**7)
)
def test_a_store_of_any_limits_is_obeyed_or_the_file_refused(
    size: int, min_part: int, max_parts: int, max_part: int, wanted: int
) -> None:
    limits = Limits("odd", min_part=min_part, max_part=max_part, max_parts=max_parts)
    try:
        part = part_size(size, limits, wanted)
    except TooLarge:
        unit = min(MIB, max_part)
        assert size > max_part // unit * unit * max_parts
    else:
        assert min_part <= part <= max_part
        assert part_count(size, part) <= max_parts


def test_a_file_above_the_stores_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        part_size(5 * TIB + 1, S3)


ENTRY = Entry("a/b", Kind.FILE, 5, mtime_ns=7, version="1:5:7:7", mode=0o644)
META = Meta(mtime_ns=7, mode=0o644, content_type="text/plain")


def test_ids_are_those_of_every_earlier_release() -> None:
    """These values name uploads and objects out there: a change here orphans every unfinished upload."""
    assert file_id("s3://b/p/", "a/\u00e9") == "890710f36b1e3e79ee4b69a9036b7631"
    assert fingerprint(ENTRY) == "f:5:1:5:7:7"
    assert generation(fingerprint(ENTRY), "etag", META, 1) == "35fe165b4f7f6200a21b0ca4ebde3163"
    assert generation(fingerprint(ENTRY), None, Meta(), 1) == "43506546abd6c72a3168c64f9a40fff1"
    assert job_id("/src", "s3://b/p/", {"filters": [["-", "x"]]}) == "a461877775e573d3eec1"


def test_a_generation_follows_from_all_that_is_written_and_not_from_itself() -> None:
    first = generation("f", "v", META)
    others = [
        generation("g", "v", META),
        generation("f", None, META),
        generation("f", "v", Meta(mtime_ns=8, mode=0o644, content_type="text/plain")),
        generation("f", "v", Meta(mtime_ns=7, mode=0o644, content_type="text/plain", storage_class="GLACIER")),
        generation("f", "v", META, RULES_VERSION + 1),
    ]
    assert len({first, *others}) == 6
    marked = Meta(mtime_ns=7, mode=0o644, content_type="text/plain", generation=first)
    assert generation("f", "v", marked) == first


def test_a_fingerprint_is_the_same_from_a_listing_and_from_a_head() -> None:
    listed = Entry("k", Kind.FILE, 5, modified_ns=9, version="etag")
    headed = Entry("k", Kind.FILE, 5, mtime_ns=7, modified_ns=9, version="etag", mode=0o600)
    assert fingerprint(listed) == fingerprint(headed)
    assert fingerprint(listed) != fingerprint(Entry("k", Kind.FILE, 6, modified_ns=9, version="etag"))


def test_a_job_is_told_by_source_destination_and_selection() -> None:
    from dataclasses import asdict

    plain, filtered = asdict(Selection()), asdict(Selection(filters=(("-", "x"),)))
    ids = {job_id("/a", "/b", plain), job_id("/b", "/a", plain), job_id("/a", "/b", filtered)}
    assert len(ids) == 3
    assert all(len(i) == 20 and i.isalnum() for i in ids)


moves = st.lists(
    st.tuples(
        st.sampled_from(["done", "failed", "skipped"]), st.integers(0, 9), st.sampled_from(REASONS), st.booleans()
    )
)


@given(moves, moves)
def test_the_law_holds_at_every_step_and_for_sums(first: list, second: list) -> None:  # type: ignore[type-arg]
    total = Tally()
    for some in (first, second):
        tally = Tally()
        for outcome, size, reason, later in some:
            if later or outcome == "done":
                tally.find("pending", size)
                tally.assert_law()
                tally.settle(outcome, size, reason)
            else:
                tally.find(outcome, size, reason)
            tally.assert_law()
        total.add(Tally.unwire(tally.wire()))
    total.assert_law()
    assert total.files["found"] == len(first) + len(second)
    assert total.bytes["found"] == sum(m[1] for m in first + second)


def test_a_broken_tally_is_found_out() -> None:
    for break_it in ("found", "pending", "failed"):
        tally = Tally()
        tally.find("pending", 3)
        tally.files[break_it] += 1
        with pytest.raises(AssertionError, match="files"):
            tally.assert_law()
    tally = Tally()
    tally.settle("done", 0)  # nothing was pending
    with pytest.raises(AssertionError):
        tally.assert_law()
    tally = Tally()
    tally.find("skipped", 1, "same")
    tally.skipped_by["special"] += 1
    with pytest.raises(AssertionError):
        tally.assert_law()
