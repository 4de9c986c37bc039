"""``S3Store.validate``: the questions of ``questions`` over bare requests to one bucket."""

from __future__ import annotations

from dataclasses import replace

from hugesync_tasks.stores.findings import Findings
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_probe import serving
from hugesync_tasks.stores.s3_raw import S3Raw
from hugesync_tasks.stores.scratch import validate as ask_all
from hugesync_tasks.token import Token


def validate(store: S3Store, token: Token) -> Findings:
    """See ``Store.validate``. Nothing that is known of the server by its name decides an answer."""
    dialect = serving(store, token)
    store.limits = replace(store.limits, name=dialect.name)  # how its listings of uploads are to be read
    return ask_all(S3Raw(store, token), S3Raw(store, Token(token.meter)), dialect.name)
