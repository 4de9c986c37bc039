"""The ledger of a configuration. Loads no store: a process that only asks the ledger stays small."""

from __future__ import annotations

from hugesync_tasks.config import Settings
from hugesync_tasks.state.redis import RedisLedger


def open_ledger(settings: Settings) -> RedisLedger:
    """The ledger of these settings; queues lie where ``celery.configure`` puts them."""
    return RedisLedger.from_url(
        settings.ledger_url,
        prefix=f"{settings.queue_prefix}:",
        queue_prefix=f"{settings.queue_prefix}:q:",
        broker_url=settings.broker_url,
    )
