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
    assert printed_by(OF_A_WORKER) == "[]\nMeterProvider\n"


# What is loaded before its processes are forked.
OF_A_WEB_SERVER = """
import sys
from hookhub.service.asgi import application
print("hookhub.service.urls" in sys.modules)
from rest_framework import compat
from django.test import utils
heavy = ["requests", "urllib3", "charset_normalizer", "pygments", "markdown", "jinja2", "opentelemetry.metrics"]
print([name for name in heavy if name in sys.modules])
print(compat.requests, compat.yaml, utils.jinja2)
import requests, yaml, pygments, jinja2, inspect
print(requests.get.__name__, inspect.getsource(compat).partition("\\n")[0])
"""


def test_a_web_server_loads_its_urls_once_and_nothing_that_others_load_only_because_it_is_installed() -> None:
    assert printed_by(OF_A_WEB_SERVER) == 'True\n[]\nNone None None\nget """\n'


def printed_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
