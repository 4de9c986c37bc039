"""An upload that was opened, and the ledger never heard of it or forgot it: nothing of it stays when nobody goes on with it."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from hugesync_producer.sweep import sweep_uploads
from hugesync_tasks import lease
from hugesync_tasks.budget import Budget
from hugesync_tasks.errors import AccessDenied
from hugesync_tasks.model import Transfer
from hugesync_tasks.perform import perform
from hugesync_tasks.stages.begin import LargeFile, leave
from hugesync_tasks.stores.faults import Fault
from simulated import Killed, Worker
from test_draining import JOB, Fleet
from test_stages import BODY, on_call
from test_too_late import begun


def opened_unheard(fleet: Fleet) -> None:
    """A worker is killed as it is about to tell the ledger which upload it opened; its intent is there."""
    record = fleet.ledger.set_upload

    def unheard(job: str, file: str, fields: dict[str, str], **how: Any) -> dict[str, str]:
        if fields["upload"]:
            raise Killed
        return record(job, file, fields, **how)

    fleet.ledger.set_upload = unheard  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        begun(fleet, "F")
    fleet.ledger.set_upload = record  # type: ignore[method-assign]
    intents, uploads = fleet.bench.left()
    assert (len(intents), uploads) == (1, 1)


def another(fleet: Fleet, task: str) -> str:
    """What another worker makes of ``task``."""
    return perform(JOB, task, Worker(fleet.ledger, Budget(1 << 30), fleet.bench.job, 5))  # type: ignore[arg-type]


def taken_over(fleet: Fleet) -> None:
    """Another coordinator leads the job now, and has planned nothing yet."""
    assert fleet.ledger.lead(JOB, "another", 30_000)
    fleet.ledger.take_over(JOB, "another")


def test_an_upload_whose_maker_was_killed_before_the_ledger_heard_of_it_is_taken_away_as_the_job_ends() -> None:
    """As after a failover, whose ledger hands a file that is done to a worker again (seed 616815 of *failover*)."""
    fleet = Fleet()
    opened_unheard(fleet)
    sweep_uploads(fleet.bench.job(), fleet.ledger, fleet.bench.token)
    assert fleet.bench.left() == ([], 0)
    assert fleet.ledger.open_files(JOB) == []


def test_whoever_begins_a_file_in_another_generation_takes_away_what_a_killed_worker_opened_unheard() -> None:
    """A rival wrote meanwhile, and the next coordinator planned the file against that (seeds 616557 and 629276 of *all*)."""
    fleet = Fleet()
    opened_unheard(fleet)
    before, _ = fleet.bench.left()
    taken_over(fleet)
    rivals = fleet.bench.put("f", b"a rival's", fleet.bench.dest)
    transfer = Transfer(fleet.bench.put("f", BODY), rivals.version, rivals)
    fleet.put("F:begin", "begin", {"transfer": transfer.wire(), "whole": ""}, "F")
    assert fleet.work("F:begin").endswith("parts")
    after, uploads = fleet.bench.left()
    assert (len(after), uploads) == (1, 1)
    assert after != before


@pytest.mark.parametrize("forgotten", [False, True], ids=["unheard", "forgotten"])
def test_an_abandon_takes_away_the_upload_that_the_intent_names_too(forgotten: bool) -> None:
    """The coordinator's was committed, and a failover had it begun again: the intent has the name that it had, and tells of another
    (seed 67298 of *failover*; ``forgotten``: by a second failover)."""
    fleet = Fleet()
    begun(fleet, "F")
    fields = fleet.ledger.file(JOB, "F")
    leave(fleet.bench.job(), fields, fleet.bench.token)
    fleet.ledger.close_file(JOB, "F")
    opened_unheard(fleet)
    if forgotten:
        fleet.ledger.close_file(JOB, "F")
    fleet.put("F:abandon", "abandon", fields, "F")
    assert fleet.work("F:abandon") == "abandoned"
    assert fleet.bench.left() == ([], 0)


def test_an_abandon_takes_away_what_the_coordinator_heard_of_where_the_ledger_knows_of_another_generation() -> None:
    fleet = Fleet()
    begun(fleet, "F")
    fields = fleet.ledger.file(JOB, "F")
    fleet.ledger.close_file(JOB, "F")
    edited = Transfer(fleet.bench.put("f", BODY[::-1]))
    fleet.put("F:begin", "begin", {"transfer": edited.wire(), "whole": ""}, "F")
    assert fleet.work("F:begin").endswith("parts")
    assert fleet.bench.left()[1] == 2
    fleet.put("F:abandon", "abandon", fields, "F")
    assert fleet.work("F:abandon") == "abandoned"
    assert fleet.bench.left() == ([], 0)


def test_what_is_opened_while_another_coordinator_takes_over_is_taken_back() -> None:
    """Its generation stands in the ledger already; its upload is recorded no more, for the new coordinator has no such task."""
    fleet = Fleet()
    on_call(fleet.bench.faulty, "create_upload", lambda: taken_over(fleet))
    assert begun(fleet, "F") == "upload_lost"
    assert fleet.bench.left() == ([], 0)


def test_a_file_whose_upload_the_store_refuses_leaves_no_record() -> None:
    """A million such files must not fill the ledger, nor be asked after one by one as the job ends."""
    fleet = Fleet()
    fleet.bench.faulty.arm(Fault(op="create_upload", error=AccessDenied("no", "f")))
    assert begun(fleet, "F") == "failed"
    assert fleet.ledger.open_files(JOB) == []


def test_a_refusal_leaves_the_record_of_what_an_earlier_attempt_opened() -> None:
    fleet = Fleet()
    opened_unheard(fleet)
    fleet.ledger._job(JOB).tasks["F:begin"].until = 0.0  # the lease of the killed one lapses
    fleet.ledger._job(JOB).tasks["F:begin"].attempts = 0
    fleet.bench.faulty.arm(Fault(op="list_parts", error=AccessDenied("no", "f")))
    assert fleet.work("F:begin") == "failed"
    assert fleet.ledger.open_files(JOB) == ["F"]
    sweep_uploads(fleet.bench.job(), fleet.ledger, fleet.bench.token)
    assert fleet.bench.left() == ([], 0)


def test_after_a_comparison_nobody_asks_for_an_intent() -> None:
    """Its record is of a file that opens no upload; what differs is begun next, and a request for each would be one too many."""
    fleet = Fleet()
    begun(fleet, "F")
    sent = LargeFile.of(fleet.ledger.file(JOB, "F"))
    compared = replace(sent, upload=replace(sent.upload, id=""), how="both")
    before = len(fleet.bench.faulty.log)
    leave(fleet.bench.job(), compared.fields(), fleet.bench.token)
    assert len(fleet.bench.faulty.log) == before


def test_a_begin_that_stood_still_for_longer_than_its_lease_touches_nothing_of_what_others_began_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is of an older plan; its first look at the source takes so long. What stands has receipts already."""
    fleet, late = Fleet(), [0.0]
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], sleep=time.sleep))
    source = fleet.bench.put("f", BODY)
    stands: list[object] = []

    def meanwhile() -> None:
        taken_over(fleet)
        rivals = fleet.bench.put("f", b"a rival's", fleet.bench.dest)
        todo = {"transfer": Transfer(source, rivals.version, rivals).wire(), "whole": ""}
        fleet.put("F:begin", "begin", todo, "F")
        assert another(fleet, "F:begin").endswith("parts")
        for number in (1, 2):
            fleet.put(f"F:{number}", "part", {"number": number}, "F")
        assert another(fleet, "F:1").startswith("part 1")
        stands.extend((fleet.ledger.file(JOB, "F"), fleet.ledger.parts(JOB, "F")))
        late[0] = 100.0

    on_call(fleet.bench.faulty_source, "head", meanwhile)
    fleet.put("F:begin", "begin", {"transfer": Transfer(source).wire(), "whole": ""}, "F")
    fleet.work("F:begin")
    assert [fleet.ledger.file(JOB, "F"), fleet.ledger.parts(JOB, "F")] == stands
    assert another(fleet, "F:2").startswith("part 2")


def test_a_begin_that_is_refused_at_last_leaves_the_record_of_another_attempt_that_has_begun_the_file() -> None:
    fleet = Fleet()
    stands: list[object] = []

    def meanwhile() -> None:
        fleet.ledger._job(JOB).tasks["F:begin"].until = 0.0  # the lease of the slow one lapses
        assert another(fleet, "F:begin").endswith("parts")
        stands.append(fleet.ledger.file(JOB, "F"))
        fleet.bench.faulty.arm(Fault(op="create_upload", error=AccessDenied("no", "f")))

    on_call(fleet.bench.faulty, "create_upload", meanwhile)
    begun(fleet, "F")
    assert [fleet.ledger.file(JOB, "F")] == stands


def test_a_part_whose_record_names_no_upload_is_not_sent() -> None:
    fleet = Fleet()
    begun(fleet, "F")
    fields = fleet.ledger.file(JOB, "F")
    fleet.ledger.close_file(JOB, "F")
    fleet.ledger.set_upload(JOB, "F", fields | {"upload": ""})
    for kind in ("part", "commit"):
        fleet.put(f"F:{kind}", kind, {"number": 1}, "F")
        before = len(fleet.bench.faulty.log)
        assert fleet.work(f"F:{kind}") == "upload_lost"
        assert len(fleet.bench.faulty.log) == before
