"""Runs the hook: ``python -m hookhub.git``, and the start of the installed file."""

import sys

from hookhub.git.hook import main

sys.exit(main())
