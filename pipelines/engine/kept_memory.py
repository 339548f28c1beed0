"""Keeps freed memory with the process, since asking the system for it again costs more than many layers do."""

import ctypes
import functools
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_TOP_PAD_BYTES = 1 << 28


@functools.cache
def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep what is freed; whether it could be told, which it can once a process.

    A training step on a CPU frees hundreds of megabytes of maps and asks for as much in the next. By default glibc
    takes large blocks from the system and gives them back, and every page comes zeroed and by a fault: a fifth of a
    step of `spine` in bfloat16, a third in float32, where faults are slow. Now the process stays as large as it was at
    its largest.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
