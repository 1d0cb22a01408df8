#!/usr/bin/env python
"""HookHub's command line in a checkout."""

from hookhub.service.command import main

if __name__ == "__main__":
    main()
