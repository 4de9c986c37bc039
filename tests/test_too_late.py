"""What comes too late: a task that goes on after its job ended, or after another took its place, and a signature replaced meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hugesync_producer.units import Units
from hugesync_tasks.budget import Budget
from hugesync_tasks.model import Transfer
from hugesync_tasks.perform import perform
from hugesync_tasks.signature.blocks import MIB, MIN_BLOCK
from hugesync_tasks.signature.format import Header, Signature, Unusable
from hugesync_tasks.stages import basis
from hugesync_tasks.stages.basis import Delta
from simulated import Worker
from test_draining import JOB, Fleet
from test_stages import BODY, on_call


def begun(fleet: Fleet, file: str) -> str:
    fleet.put(f"{file}:begin", "begin", {"transfer": Transfer(fleet.bench.put("f", BODY)).wire(), "whole": ""}, file)
    return fleet.work(f"{file}:begin")


def test_an_upload_that_is_begun_as_the_job_ends_is_taken_away_with_its_intent() -> None:
    """As after a failover, whose ledger knows again of a file that was done."""
    fleet = Fleet()
    on_call(fleet.bench.faulty, "create_upload", lambda: fleet.ledger.forget_job(JOB))
    assert begun(fleet, "F") == "upload_lost"
    assert fleet.bench.left() == ([], 0)
    assert fleet.ledger.open_files(JOB) == []


def test_an_upload_that_has_parts_already_stays_for_whoever_goes_on_with_it() -> None:
    fleet = Fleet()
    assert begun(fleet, "F").endswith("parts")
    fleet.put("F:1", "part", {"number": 1}, "F")
    assert fleet.work("F:1").startswith("part 1")
    on_call(fleet.bench.faulty, "list_parts", lambda: fleet.ledger.forget_job(JOB))
    assert begun(fleet, "G") == "upload_lost"
    intents, uploads = fleet.bench.left()
    assert (len(intents), uploads) == (1, 1)


def test_after_a_flush_the_coordinators_records_stand_before_its_tasks_and_no_part_is_sent_twice() -> None:
    fleet = Fleet()
    assert begun(fleet, "F").endswith("parts")
    fields = fleet.ledger.file(JOB, "F")
    fleet.put("F:1", "part", {"number": 1}, "F")
    assert fleet.work("F:1").startswith("part 1")
    receipts = fleet.ledger.parts(JOB, "F")
    fleet.ledger.flush()
    fleet.ledger.open_job(JOB, "{}")
    file = SimpleNamespace(file="F", fields=fields, receipts=receipts)
    job = SimpleNamespace(spec=SimpleNamespace(job=JOB))
    Units.restore(SimpleNamespace(larges={"F": SimpleNamespace(file=file)}, ledger=fleet.ledger, job=job))  # type: ignore[arg-type]
    fleet.put("F:2", "part", {"number": 2}, "F")
    assert fleet.work("F:2").startswith("part 2")
    assert fleet.ledger.parts(JOB, "F").keys() == {1, 2}


def test_an_attempt_that_was_overtaken_leaves_its_successors_upload_alone() -> None:
    fleet = Fleet()
    record, overtaken = fleet.ledger.set_upload, []

    def late(*args: Any, **how: Any) -> dict[str, str]:
        if not overtaken and args[2]["upload"]:  # it is opened, and about to be told of
            overtaken.append(True)
            fleet.ledger._job(JOB).tasks[
                "F:begin"
            ].until = 0.0  # its lease lapsed: another adopts the upload, and settles
            second = Worker(fleet.ledger, Budget(1 << 30), fleet.bench.job, 5)
            assert perform(JOB, "F:begin", second).endswith("parts")  # type: ignore[arg-type]
        return record(*args, **how)

    fleet.ledger.set_upload = late  # type: ignore[method-assign]
    begun(fleet, "F")
    assert overtaken
    fleet.put("F:1", "part", {"number": 1}, "F")
    assert fleet.work("F:1").startswith("part 1")


def test_a_signature_that_was_replaced_by_one_with_other_blocks_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between begin and the layout, by whoever may write to the bucket: the file goes whole, it does not fail."""
    delta = Delta("upload", "v1", 4 * MIB, MIN_BLOCK, MIB, signs=False)
    found = [Signature(Header(delta.binding, block, bytes(32)), b"") for block in (MIN_BLOCK, 2 * MIN_BLOCK)]
    monkeypatch.setattr(basis, "load", lambda *of: found[0])
    fleet = Fleet()
    of = (fleet.bench.job(), "f", fleet.bench.put("f", BODY), delta, fleet.bench.token)
    assert basis.stored(*of) == found[:1]
    found.reverse()
    with pytest.raises(Unusable, match="other blocks"):
        basis.stored(*of)
