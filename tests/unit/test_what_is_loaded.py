"""What the service's processes do not load, because it would take a part of each start, and memory."""

import subprocess
import sys

from hookhub.procfile import ROOT

# In a process of its own, because those of the tests have loaded everything. The children of a worker's pool call the
# functions of `worker_process_init`.
OF_A_WORKER = """
import sys
from celery.concurrency import prefork
from hookhub.service.celery import app
import django; django.setup()
import deliveries.worker.scheduler, hookhub.publishing.redis_stream.thread
prefork.platforms.set_pdeathsig("SIGKILL")
from hookhub.celery import drain_after_parent_exit
drain_after_parent_exit()
heavy = ["requests", "rest_framework.response", "drf_spectacular.plumbing", "cffi.cparser", "pycparser"]
print([name for name in [*heavy, "opentelemetry.sdk.metrics"] if name in sys.modules])
import opentelemetry.sdk.metrics
print(opentelemetry.sdk.metrics.MeterProvider.__name__)
"""


def test_a_worker_loads_neither_what_renders_responses_nor_a_parser_of_c_nor_the_metrics_of_others() -> None:
    done = subprocess.run([sys.executable, "-c", OF_A_WORKER], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "[]\nMeterProvider\n"), done.stderr
