"""HookHub's version, written here and nowhere else."""

VERSION = "0.1.0"

# Sent by formats that do not imitate another sender.
USER_AGENT = f"HookHub/{VERSION}"
