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
import gc
from celery.signals import worker_init
print(gc.get_threshold()[0], gc.get_freeze_count() > 0)
worker_init.send(None)
print(gc.get_threshold()[0], gc.get_freeze_count() > 0)
"""


def test_a_worker_loads_neither_what_renders_responses_nor_a_parser_of_c_nor_the_metrics_of_others() -> None:
    assert printed_by(OF_A_WORKER) == "[]\nMeterProvider\n500000 False\n20000 True\n"


# What is loaded before its processes are forked.
OF_A_WEB_SERVER = """
import gc
import sys
import hookhub.service
searches = []
gc.callbacks.append(lambda phase, info: searches.append(info))
from hookhub.service.asgi import application
print(len(searches), gc.get_threshold()[0], gc.get_freeze_count() > 0)
print("hookhub.service.urls" in sys.modules)
from rest_framework import compat
from django.test import utils
heavy = ["requests", "urllib3", "charset_normalizer", "pygments", "markdown", "jinja2", "opentelemetry.metrics"]
print([name for name in heavy if name in sys.modules])
print(compat.requests, compat.yaml, utils.jinja2)
import requests, yaml, pygments, jinja2, inspect
print(requests.get.__name__, inspect.getsource(compat).partition("\\n")[0])
"""

# No command searches for garbage before it is loaded either.
OF_A_COMMAND = """
import gc
from hookhub.service import management_utility
print(gc.get_threshold()[0], gc.get_freeze_count() > 0)
management_utility.Utility(["manage.py", "check"]).fetch_command("check")
print(gc.get_threshold()[0], gc.get_freeze_count() > 0)
"""


def test_a_web_server_loads_its_urls_once_and_nothing_that_others_load_only_because_it_is_installed() -> None:
    assert printed_by(OF_A_WEB_SERVER) == '0 20000 True\nTrue\n[]\nNone None None\nget """\n'


def test_a_command_searches_for_garbage_only_among_what_it_creates() -> None:
    assert printed_by(OF_A_COMMAND) == "500000 False\n20000 True\n"


def printed_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
