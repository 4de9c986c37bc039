"""Buffers: one byte budget for all processes of a worker, memory that is lent again, and copies in one read pass.

``docs/buffers.md`` tells it whole. Parts, batches and downloads hold their bytes through ``sharing.budget_for``; nothing here
knows a store or a job.
"""
