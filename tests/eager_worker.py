"""A worker that asks every second whether it should have another number of children, where the product asks every five."""

from __future__ import annotations

from hugesync_tasks import autoscale

autoscale.EVERY = 1.0

from hugesync_worker.__main__ import main  # noqa: E402

if __name__ == "__main__":
    main()
