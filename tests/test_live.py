"""The conformance suite against real clouds, for whoever has credentials: ``pytest -m live``, with the environment as the clouds' own
tools want it and HUGESYNC_TEST_LIVE_S3, _GS, _AZ = ``s3://BUCKET/PREFIX`` (gs://, az://) that may be written to. Each test has a
prefix of its own below that, emptied afterwards."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

import test_store_contract
from hugesync_tasks.model import Upload
from hugesync_tasks.spec import Options
from hugesync_tasks.stores.base import ANY, Store
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.token import Token
from hugesync_tasks.uri import parse_location

pytestmark = pytest.mark.live


@pytest.fixture(params=["S3", "GS", "AZ"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    place = os.environ.get(f"HUGESYNC_TEST_LIVE_{request.param}")
    if not place:
        pytest.skip(f"HUGESYNC_TEST_LIVE_{request.param} is not set")
    at = parse_location(place)
    made = open_store(
        replace(at, prefix=f"{at.prefix}hugesync-live-{uuid.uuid4().hex}/root/"), None, Options(), role="live test"
    )
    made.limits = made.probe(Token())
    yield made
    token = Token()
    for key, id, _ in list(made.list_uploads(token)):
        made.abort(Upload(key, id, "", 0, 0), token)
    for entry in [*made.list(token), *made.list_ours(token)]:
        made.delete(entry.key, ANY, token)
    made.close()


OF_SMALL_PAGES = {"test_a_cancel_ends_a_listing_half_way"}  # two keys each, which only the tests ask for
for _name, _test in vars(test_store_contract).items():
    if _name.startswith("test_") and _name not in OF_SMALL_PAGES:
        globals()[_name] = _test
