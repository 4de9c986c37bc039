"""Send a job's messages to the broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

from hugesync_producer.dispatch import Publish
from hugesync_tasks.errors import Unreachable

if TYPE_CHECKING:
    from celery import Celery


def publisher(sender: Celery, headers: Mapping[str, str]) -> Publish:
    """What sends by ``sender``, with ``headers`` where there are any; tried once, because ``Dispatcher`` sends again what was
    lost. What it returns raises Unreachable."""
    more = {"headers": dict(headers)} if headers else {}

    def publish(name: str, queue: str, job: str, task: str) -> None:
        try:
            sender.send_task(name, args=(job, task), queue=queue, ignore_result=True, retry=False, **more)
        except (OperationalError, *sender.connection_for_write().connection_errors) as error:
            raise Unreachable(f"the broker cannot be reached: {type(error).__name__}") from error

    return publish
