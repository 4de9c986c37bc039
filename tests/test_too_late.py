"""A task that was taken before its job ended, and goes on after it, leaves nothing at the store."""

from __future__ import annotations

from hugesync_tasks.model import Transfer
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
