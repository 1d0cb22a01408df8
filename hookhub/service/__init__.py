"""HookHub as a service of its own: settings, URLs, the Celery app, the ASGI and WSGI entry points, and its commands.

A Django project that has HookHub among its apps uses nothing of this.
"""

import atexit
import gc
import sys

from hookhub.service.unused import Finder

# What a process loads is needed until its end. The garbage collector would search it again and again meanwhile, and
# once more at the end, which takes a third of the time of a short command. Later, too, it runs rarely, because hardly
# anything of a request is in a reference cycle: with the defaults, it takes 2.5 % of the web server's processor time.
gc.set_threshold(20_000, 10, 10)
atexit.register(gc.freeze)

sys.meta_path.insert(0, Finder())
