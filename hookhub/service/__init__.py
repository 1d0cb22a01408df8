"""HookHub as a service of its own: settings, URLs, the Celery app, the ASGI and WSGI entry points, and its commands.

A Django project that has HookHub among its apps uses nothing of this.
"""

import atexit
import gc
import sys

from hookhub.service.unused import Finder

# More objects than a process loads. They are needed until its end, and the garbage collector would search them again
# and again meanwhile, and once more at the end, which takes a third of the time of a short command.
gc.set_threshold(500_000, 10, 10)
atexit.register(gc.freeze)

sys.meta_path.insert(0, Finder())


def note_loaded() -> None:
    """Let the garbage collector search only what is created from now on, and rarely.

    Hardly anything of a request is in a reference cycle: with the defaults, the collector takes 2.5 % of the web
    server's processor time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
