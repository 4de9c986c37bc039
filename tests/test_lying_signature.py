"""A signature that claims blocks which its object has not: what it leads to is found out by the source's own checksum, and the file
goes whole. (With real processes and more kinds of lies: ``test_delta_hostile``.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows import BIG, DELTA, MTIME, Flow, changed, noise, put, sign
from hugesync_tasks.token import Token
from matrix import Matrix, Strike, temporary_root
from simulated import one_core


def lie(sim: Matrix) -> dict[str, bytes]:
    """What is at the destination claims to be the new version; or, where only the source has a signature, that the old one."""
    old = noise(3, BIG)
    new = changed(old)
    there, made = put(sim.dest, "big", old, MTIME - 10**9), put(sim.source, "big", new)
    if sim.flow.dest == "s3":
        sign(sim.dest, "big", new[:BIG], there)
    if sim.flow.source == "s3":
        sign(sim.source, "big", new if sim.flow.dest == "s3" else (old + noise(8, 500))[: len(new)], made)
    return {"big": new}


@pytest.mark.parametrize("ends", [("file", "s3"), ("s3", "file"), ("s3", "s3")])
@pytest.mark.parametrize("inplace", [False, True])
def test_what_a_lying_signature_leads_to_is_never_published(
    ends: tuple[str, str], inplace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(*ends, lie, "full", {**DELTA, "inplace": inplace})
    with temporary_root() as folder, one_core():
        sim = Matrix(flow=replace(flow), root=Path(folder), strike=Strike(0, ""))
        try:
            summary = sim.play(monkeypatch)
            with sim.dest.open("big", "", Token()) as there:
                assert b"".join(there) == sim.flow.wanted["big"]
        finally:
            sim.close()
    assert (str(summary.state), summary.transfers) == ("done", {"full": 1})
    assert any("a signature was wrong" in note or "did not make the file" in note for note in summary.notes), (
        summary.notes
    )
