"""Where files lie that one process hands to another of its host."""

from __future__ import annotations

import os
import shutil

MEMORY = "/dev/shm"
MARGIN = 256 << 20  # bytes left to others, such as NCCL


def quick_folder(size: int) -> str | None:
    """Main memory as a folder if `size` bytes fit there; None: the usual place for such files.

    A container has 64 MiB of it unless it is told otherwise, as the flows tell theirs.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < size + MARGIN:
        return None
    return MEMORY
