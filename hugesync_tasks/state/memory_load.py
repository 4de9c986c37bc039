"""What a fleet has to do, from the ledger in memory."""

from __future__ import annotations

from collections import Counter

from hugesync_tasks.state.load import RECENT_JOBS, JobLoad, Load, counted, queues_of, slots_of, told_of
from hugesync_tasks.state.memory_jobs import MemoryJobs, TaskRecord


class MemoryLoad(MemoryJobs):
    def load(self) -> Load:
        with self._changed:
            newest = [job for job, _ in self.jobs()[:RECENT_JOBS]]
            ended = {job: s for job in newest if (s := self._job(job).meta.get("state", "")) not in ("", "running")}
            jobs = [self._job_load(job) for job in sorted((set(self._offers) | set(newest)) - set(ended))]
            queues = {q: self.queues[q] + self.queues[f"{q}.commit"] for q in queues_of(self.announced())}
            alive = tuple(job for job in jobs if job.alive)
            return Load(alive, counted(ended.values()), slots_of(self.workers()), queues)

    def _job_load(self, job: str) -> JobLoad:
        record, told = self._job(job), self.told(job)
        n = Counter(self._standing(task) for task in record.tasks.values())
        led = self._holder(("lead", job)) is not None
        return JobLoad(
            job, record.meta.get("state", ""), record.meta.get("pause") == "1", led, job in self._offers, len(record.tasks),
            n["queued"], n["running"], n["expired"], n["recalled"],
            told=told_of(told[0]) if told else None, told_age=told[1] if told else 0.0,
        )  # fmt: skip

    def _standing(self, task: TaskRecord) -> str:
        if task.running:
            return "running" if task.until > self.clock() else "expired"
        return "recalled" if task.recalled else "queued"
