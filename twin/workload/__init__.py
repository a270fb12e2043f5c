"""Throughput against power, the kinds of work, and the queue of jobs."""
