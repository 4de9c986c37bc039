"""A worker whose S3 requests time out after two seconds, where the product's wait for sixty (a completion for 900)."""

from __future__ import annotations

from hugesync_tasks.stores import s3_client

SECONDS = 2.0
s3_client.READ_TIMEOUT = s3_client.SLOW_READ_TIMEOUT = SECONDS

from hugesync_worker.__main__ import main  # noqa: E402

if __name__ == "__main__":
    main()
