"""Runs the hook as ``python -m hookhub.git``."""

import sys

from hookhub.git.hook import main

sys.exit(main())
