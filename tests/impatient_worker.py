"""A worker whose S3 requests time out after two seconds, where the product's wait for sixty (a completion for 900)."""

from __future__ import annotations

SECONDS = 2.0

if __name__ == "__main__":  # a test that only wants the number keeps the product's waits
    from hugesync_tasks.stores import s3_client

    s3_client.READ_TIMEOUT = s3_client.SLOW_READ_TIMEOUT = SECONDS

    from hugesync_worker.__main__ import main

    main()
