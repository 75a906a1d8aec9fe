"""What a process has needed of memory, and what this node lets a job have."""

import ctypes
import os
import re
import resource
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hpc_diffuser.system.errors import InputError

MB = 2**20  # bytes; what the kernel and SLURM call a megabyte
LARGEST_MB = 256.0  # more than any library maps; the largest, LLVM, 170


class Limit(NamedTuple):
    """So much memory, and who says so.

    Attributes
    ----------
    MB : float
    source : str
        As a message can name it: "SLURM_MEM_PER_NODE", "physical memory".
    """

    MB: float
    source: str


def peak_memory_MB() -> float:
    """Largest resident memory of this process so far.

    From the kernel's high-water mark: `getrusage` starts a child at what its parent needed.
    """
    return _status_MB("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_limit_MB() -> Limit:
    """What all processes of this job may use together on this node: the least of what is set."""
    limits = [physical_memory(), *cgroup_limits(), *slurm_limits(os.environ)]
    return min(limits, key=lambda limit: limit.MB)


def process_limit_MB(to_map_MB: float = 0.0) -> Limit | None:
    """What a single process may have resident, where a limit (ulimit) is set; else None.

    Parameters
    ----------
    to_map_MB : float
        What is going to be mapped, of libraries yet to be loaded, and not used.

    Returns
    -------
    Limit or None
        `ulimit -v` counts address space: what is mapped and not used is taken off.
    """
    limits = []
    space, resident = (resource.getrlimit(n)[0] for n in (resource.RLIMIT_AS, resource.RLIMIT_RSS))
    if space != resource.RLIM_INFINITY:
        unused = _status_MB("VmSize") - _status_MB("VmRSS") + to_map_MB
        name = f"ulimit -v without the {unused:.0f} MB that are only mapped"
        limits.append(Limit(max(space / MB - unused, 0.0), name))
    if resident != resource.RLIM_INFINITY:
        limits.append(Limit(resident / MB, "ulimit -m"))
    return min(limits, key=lambda limit: limit.MB, default=None)


def library_lacks_room() -> bool:
    """True where `ulimit -v` leaves so little that a library may not have been mapped."""
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    return space != resource.RLIM_INFINITY and space / MB - _status_MB("VmSize") < LARGEST_MB


def _status_MB(name: str) -> float:
    """What the kernel says of this process; 0 where it does not."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def require_room(n_bytes: float, what: str, remedy: str) -> None:
    """Refuse work that this process would not have the memory for.

    Parameters
    ----------
    n_bytes : float
        More than the process has now.
    what, remedy : str
        As the message names them.

    Raises
    ------
    InputError
        Where the process, or its job on this node, may not have so much.
    """
    needed = peak_memory_MB() + n_bytes / MB
    limits = [memory_limit_MB(), *filter(None, [process_limit_MB()])]
    limit = min(limits, key=lambda limit: limit.MB)
    if needed > limit.MB:
        raise InputError(
            f"not enough memory: {what} will need about {needed:.0f} MB, but may have "
            f"{limit.MB:.0f} MB ({limit.source}): {remedy}, or use a node with more"
        )


def physical_memory() -> Limit:
    """The memory that this node has."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Limit(pages / MB, "physical memory")


def slurm_limits(environment: Mapping[str, str]) -> list[Limit]:
    """What SLURM has given to the job on this node, by its variables; 0 stands for all there is."""
    per_node = _whole(environment.get("SLURM_MEM_PER_NODE", ""))
    per_cpu = _whole(environment.get("SLURM_MEM_PER_CPU", "")) * _slurm_cpus(environment)
    limits = [
        Limit(float(per_node), "SLURM_MEM_PER_NODE"),
        Limit(float(per_cpu), "SLURM_MEM_PER_CPU times the CPUs of this node"),
    ]
    return [limit for limit in limits if limit.MB > 0]


def cgroup_limits(
    membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> list[Limit]:
    """Limits of this process's control groups, version 1 or 2, and of all that these lie in.

    Parameters
    ----------
    membership : Path
        Lines `number:controllers:/path`; no controllers for version 2.
    mount : Path
        Where the trees are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if not controllers:
            found += _limits_along(mount, path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits_along(mount / "memory", path, "memory.limit_in_bytes")
    return [Limit(size / MB, "the control group's memory limit") for size in found]


def _limits_along(tree: Path, path: str, name: str) -> list[int]:
    """The numbers in the files `name` from a group up to the tree's root, in bytes.

    In a container the path may be of the host and lead nowhere: the root's file then counts.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    found = []
    for depth in range(len(parts) + 1):
        try:
            text = tree.joinpath(*parts[:depth], name).read_text().strip()
        except OSError:
            continue
        # Version 2 writes "max" for no limit, version 1 a number near 2⁶³.
        if text.isdigit() and int(text) < 2**60:
            found.append(int(text))
    return found


def _slurm_cpus(environment: Mapping[str, str]) -> int:
    """CPUs of the job on this node.

    SLURM_JOB_CPUS_PER_NODE counts nodes in their order, as in `72(x2),36`.
    """
    counts = []
    for text in environment.get("SLURM_JOB_CPUS_PER_NODE", "").split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", text.strip())
        if match:
            counts += [int(match[1])] * int(match[2] or 1)
    node = _whole(environment.get("SLURM_NODEID", "0"))
    if node < len(counts):
        return counts[node]
    return _whole(environment.get("SLURM_CPUS_ON_NODE", ""))


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0


def give_back() -> None:
    """Return to the system what freed arrays have left on the heap, where the C library can.

    glibc keeps freed blocks below its threshold, of up to 32 MiB; between those that are in use
    it gives them back only when it is asked.
    """
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
