"""What a process has needed of memory."""

import resource
from pathlib import Path


def peak_memory_MB() -> float:
    """Largest resident memory of this process so far.

    From the kernel's high-water mark: `getrusage` starts a child at what its parent needed.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
