"""Where many files can be created and deleted without a disk."""

import os
import shutil

# Linux keeps the files of this folder in memory.
MEMORY = "/dev/shm"
# The homes and folders of all tests together take about one of them.
ROOM_BYTES = 4 * 2**30


def folder_in_memory() -> str:
    """Return a folder whose files are in memory, or /tmp if there is none that has room and may hold programs.

    On a disk, the thousands of files of each database and repository take a twentieth of the tests' time.
    """
    try:
        usable = (
            shutil.disk_usage(MEMORY).free >= ROOM_BYTES
            and os.access(MEMORY, os.W_OK | os.X_OK)
            and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        )
    except OSError:
        usable = False
    return MEMORY if usable else "/tmp"
