"""``python -m hookhub``: the command ``hookhub``."""

from hookhub.service.command import main

main()
