"""Samples of processes, and percentiles of samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from testbed.processes import with_descendants


@dataclass(frozen=True)
class Memory:
    """Memory of several processes, in units of a million bytes.

    Shared memory, most of it from before the fork, counts fully for the largest process and once in the sum.
    """

    largest_process_mb: float
    sum_pss_mb: float

    def most(self, other: "Memory") -> "Memory":
        """Return the maximum of each figure."""
        return Memory(max(self.largest_process_mb, other.largest_process_mb), max(self.sum_pss_mb, other.sum_pss_mb))


def memory_of(process: psutil.Process) -> Memory:
    """Return the memory of a process and its descendants."""
    largest = shares = 0
    for one in with_descendants(process):
        try:
            memory = one.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        largest = max(largest, memory.rss)
        # Only Linux reports proportional shares; elsewhere count the unique memory, which is a lower bound.
        shares += getattr(memory, "pss", memory.uss)
    return Memory(round(largest / 1e6, 1), round(shares / 1e6, 1))


def cpu_seconds_of(process: psutil.Process) -> float:
    """Return the CPU seconds of a process, its living descendants, and its reaped ones."""
    spent = 0.0
    for one in with_descendants(process):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    times = process.cpu_times()
    return float(spent + times.children_user + times.children_system)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return a percentile as PostgreSQL's ``percentile_cont`` defines it, interpolated; 0 without samples."""
    ordered = sorted(samples)
    if not ordered:
        return 0.0
    place = (len(ordered) - 1) * percent / 100
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    # Equal ones may be infinite, and have no difference.
    return below if below == above else below + (above - below) * (place % 1)


def in_ms(seconds: float) -> float:
    """Return seconds as milliseconds with two decimals."""
    return round(seconds * 1000, 2)


def percentiles(seconds: Sequence[float], suffix: str = "") -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile in milliseconds, under names that end in ``suffix``."""
    return {f"p{percent}_ms{suffix}": in_ms(percentile(seconds, percent)) for percent in (50, 95, 99)}
