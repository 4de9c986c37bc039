"""The Celery application. ``celery -A hugesync_tasks worker`` finds it because this module is called ``celery``.

Celery over Redis is a hint channel: it loses and duplicates messages when killed. So there is one redelivery engine, the
coordinator with the ledger, and Celery is told to have none of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from hugesync_tasks.config import Settings, load

DATA_TIMEOUT = 30  # seconds a broker socket may stay silent


def options(settings: Settings) -> dict[str, Any]:
    """Settings an operator may not change without breaking promise 1; each line says which failure it prevents."""
    return {
        "broker_url": _verified(settings.broker_url.replace("unix://", "redis+socket://", 1)) or None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker outlives its broker's restart
        "broker_channel_error_retry": True,  # a full Redis answers with an error; it would end every worker of the fleet
        "broker_pool_acquire_timeout": 30,
        "broker_transport_options": {
            "global_keyprefix": f"{settings.queue_prefix}:q:",
            "socket_timeout": DATA_TIMEOUT,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "max_retries": 0,  # a publisher's connection: the coordinator tries again, and must not be held up for seconds
        },
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": False,  # no redelivery by visibility time-out: it would run long tasks twice
        "worker_disable_prefetch": True,  # a message waits in the queue, where its length can be seen
        "worker_prefetch_multiplier": 1,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "event_serializer": "json",
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_lost_wait": 1.0,  # seconds until a dead child's lease is given up; results it may have sent lie in the ledger
        "task_create_missing_queues": True,
        "task_default_queue": "hs.any",
        "imports": ("hugesync_tasks.tasks",),
        "enable_utc": True,
    }


def _verified(url: str) -> str:
    """Over TLS kombu verifies no certificate unless it is told to; the ledger's client does by itself. What the URL says stands."""
    if not url.startswith("rediss:") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"


def configure(app: Celery, settings: Settings) -> None:
    """Set the application to these settings, whatever the environment says (the producer's and the worker's options)."""
    app.conf.update(options(settings))


@contextmanager
def publishing(settings: Settings) -> Iterator[Celery]:
    """An application that only sends, of one job: connections to a broker are kept by the application, and a program may run
    job after job, or several at once, each with a broker of its own."""
    mine = Celery("hugesync", set_as_current=False)
    configure(mine, settings)
    try:
        yield mine
    finally:
        with suppress(Exception):  # the job has ended; how its connections end is no news
            mine.pool.force_close_all()
        mine.close()


def queue_alone(name: str) -> Queue:
    """A queue without an exchange: nothing of it stays at the broker while it is empty."""
    return Queue(name, Exchange(""), no_declare=True)  # type: ignore[no-untyped-call]


app = Celery("hugesync")
app.add_defaults(lambda: options(load({})))  # evaluated at first use: ``celery -A hugesync_tasks worker``
app.steps["consumer"].add("hugesync_tasks.consumer:RegisterStep")
