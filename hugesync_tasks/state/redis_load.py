"""What a fleet has to do, from the ledger on Redis. Whoever asks first counts, for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import redis

from hugesync_tasks.state.load import (
    DETAILED_JOBS,
    LOAD_MS,
    RECENT_JOBS,
    JobLoad,
    Load,
    counted,
    queues_of,
    slots_of,
    told_of,
)
from hugesync_tasks.state.redis_jobs import RedisJobs, listed


class RedisLoad(RedisJobs):
    def load(self) -> Load:
        key = f"{self._prefix}load"
        text = self._server.call(lambda r: r.get(key))
        known = Load.unwire(str(text)) if text is not None else None
        if known is None:
            known = self._count()
            self._server.call(lambda r: r.set(key, known.wire(), px=LOAD_MS))
        return known

    def _count(self) -> Load:
        newest: list[str] = listed(
            self._server.call(lambda r: r.zrange(f"{self._prefix}jobs", 0, RECENT_JOBS - 1, desc=True))
        )
        offered = set(self._hash(f"{self._prefix}offers"))

        def states(r: redis.Redis) -> list[Any]:
            p = r.pipeline(transaction=False)
            for job in newest:
                p.hget(self._key(job, "meta"), "state")
            return listed(p.execute())

        stand = dict(zip(newest, self._server.call(states) if newest else [], strict=True))
        ended = {job: str(state) for job, state in stand.items() if state not in (None, "", "running")}
        jobs = [self._job_load(job, job in offered) for job in sorted((offered | set(stand)) - set(ended))]
        jobs = [job for job in jobs if job.alive]
        detailed = [self._with_told(job) for job in jobs[:DETAILED_JOBS]]
        queues = {q: self.queue_length(q) + self.queue_length(f"{q}.commit") for q in queues_of(self.announced())}
        return Load((*detailed, *jobs[DETAILED_JOBS:]), counted(ended.values()), slots_of(self.workers()), queues)

    def _job_load(self, job: str, offered: bool) -> JobLoad:
        answer = self._server.run("load", self._keys(job, "tasks", "meta", "lease"), [self._key(job, "t", "")])
        state, (paused, led, unsettled, queued, running, expired, recalled) = str(answer[0]), map(int, answer[1:])
        return JobLoad(job, state, bool(paused), bool(led), offered, unsettled, queued, running, expired, recalled)

    def _with_told(self, job: JobLoad) -> JobLoad:
        told = self.told(job.job)
        return job if told is None else replace(job, told=told_of(told[0]), told_age=told[1])
