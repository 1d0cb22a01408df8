"""Describes the machine and the software versions, without which the figures mean little."""

import os
import platform
from pathlib import Path

import celery
import django
import psutil
import pycurl

from testbed.instance import Instance

Facts = dict[str, str]


def machine() -> Facts:
    """Return processor, cores, memory and operating system."""
    return {
        "Processor": processor(),
        "Cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "Memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "System": f"{platform.system()} {platform.release()}",
    }


def processor() -> str:
    """Return the processor's name as far as the system knows it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(instance: Instance) -> Facts:
    """Return the versions that the figures depend on, and PostgreSQL's settings for durability and memory."""
    with instance.servers.redis() as redis:
        server = redis.info("server")
    valkey = server.get("valkey_version")
    settings = [f"{name} {instance.ask(f'SHOW {name}')}" for name in ("fsync", "synchronous_commit", "shared_buffers")]
    return {
        "Python": platform.python_version(),
        "PostgreSQL": f"{instance.ask('SHOW server_version')} ({', '.join(settings)})",
        "Valkey" if valkey else "Redis": str(valkey or server["redis_version"]),
        "Django": django.get_version(),
        "Celery": celery.__version__,
        "libcurl": pycurl.version_info()[1],
    }
