"""How much memory a fit will need, from its sizes: told, or refused, before it begins.

An array above 32 MiB goes back to the system when it is freed; of smaller ones the process keeps
a part, for the next of that size (glibc's malloc). So each of `fit.phases` needs what the program
itself does, its arrays, and something of what earlier phases needed in small arrays.
"""

import socket
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from hpc_diffuser.fit.compilation import compiler_MB
from hpc_diffuser.fit.phases import (
    Phase,
    building,
    finishing,
    fitting,
    loading,
    measured_sizes,
    shares_of_group,
)
from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.maps.target import target_arrays
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import group_of
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import MB, Limit, memory_limit_MB, process_limit_MB
from hpc_diffuser.system.progress import log

# Measured: Python 3.11, numpy 2.4, numba 0.68, scipy 1.17, MPICH 5, x86-64.
PROGRAM_MB = 165.0  # of each rank: interpreter, modules, kernels, MPI's buffers, gaps in the heap
LIBRARIES_MB = 140.0  # once a node: libraries mapped from files
OPTIMISER_MAPS_MB = 110.0  # that it does not use, of a rank that proposes
OPTIMISER_MB = 30.0  # of a rank that proposes: scikit-optimize and scikit-learn
LARGE = 32 * MB  # glibc's largest threshold for memory that goes back at once
KEPT = 100 * MB  # the most of freed small arrays that was seen to stay


@dataclass(frozen=True)
class Footprint:
    """Predicted peaks of resident memory, in MB.

    Attributes
    ----------
    private : tuple of float
        Of every rank. Rank 0 reads, compiles and writes too.
    shared : float
        Once a node: libraries, and the inputs that its ranks share.
    """

    private: tuple[float, ...]
    shared: float

    def of_rank(self, rank: int) -> float:
        """What such a process shows as its resident memory."""
        return self.private[rank] + self.shared

    def of_node(self, ranks: list[int]) -> float:
        """What these ranks need on one node together."""
        return sum(self.private[rank] for rank in ranks) + self.shared


class Node(NamedTuple):
    """Where a rank is, and what it may use there.

    Attributes
    ----------
    host : str
    limit : Limit
        Of all the job's ranks on that host.
    process : Limit or None
        Of this rank.
    """

    host: str
    limit: Limit
    process: Limit | None


def this_node() -> Node:
    """Where this rank is."""
    return Node(socket.gethostname(), memory_limit_MB(), process_limit_MB(OPTIMISER_MAPS_MB))


def require_memory(problem: Problem, world: Ranks) -> None:
    """Tell how much memory the fit will need; all ranks call this before anything is computed.

    Raises
    ------
    InputError
        On all ranks, where it is more than a node, or a process, may have.
    """
    nodes = world.gather(this_node())

    def check() -> None:
        footprint = predict(problem, world.size)
        log(f"memory: {memory_text(footprint, nodes)}")
        refused = refusal(footprint, nodes)
        if refused:
            raise InputError(refused)

    world.from_root(check)


def refusal(footprint: Footprint, nodes: list[Node]) -> str | None:
    """Why a fit cannot be done where its ranks are, in one line; None where it can.

    Parameters
    ----------
    footprint : Footprint
    nodes : list of Node
        Of every rank.
    """
    for rank, node in enumerate(nodes):
        if node.process is not None and footprint.of_rank(rank) > node.process.MB:
            return (
                f"not enough memory: rank {rank} on {node.host} will need about "
                f"{footprint.of_rank(rank):.0f} MB, but {node.process.source} allows "
                f"{node.process.MB:.0f} MB: raise that limit, or use more ranks in fewer "
                "[run] groups"
            )
    for host, ranks in ranks_by_host(nodes).items():
        needed, limit = footprint.of_node(ranks), nodes[ranks[0]].limit
        if needed > limit.MB:
            return (
                f"not enough memory: {_counted(ranks)} on {host} will need about {needed:.0f} MB "
                f"({_largest(footprint, ranks):.0f} MB each and {footprint.shared:.0f} MB in "
                f"common), but may have {limit.MB:.0f} MB ({limit.source}): ask for more "
                "--mem-per-cpu, start fewer ranks on a node with more --cpus-per-task (threads), "
                "or set fewer [run] groups"
            )
    return None


def memory_text(footprint: Footprint, nodes: list[Node]) -> str:
    """The prediction for the node that rank 0 is on, in one line, by its nearest limit."""
    ranks = ranks_by_host(nodes)[nodes[0].host]
    left = [(nodes[0].limit.MB - footprint.of_node(ranks), nodes[0].limit)]
    left += [(n.MB - footprint.of_rank(r), n) for r in ranks if (n := nodes[r].process)]
    limit = min(left)[1]
    return (
        f"about {_largest(footprint, ranks) + footprint.shared:.0f} MB a rank, "
        f"{footprint.of_node(ranks):.0f} MB for {_counted(ranks)} on this node; "
        f"limit {limit.MB:.0f} MB ({limit.source})"
    )


def ranks_by_host(nodes: list[Node]) -> dict[str, list[int]]:
    """The ranks of every host."""
    hosts: dict[str, list[int]] = {}
    for rank, node in enumerate(nodes):
        hosts.setdefault(node.host, []).append(rank)
    return hosts


def _largest(footprint: Footprint, ranks: list[int]) -> float:
    return max(footprint.private[rank] for rank in ranks)


def _counted(ranks: list[int]) -> str:
    return "1 rank" if len(ranks) == 1 else f"{len(ranks)} ranks"


def predict(problem: Problem, n_ranks: int) -> Footprint:
    """Peak memory of a fit on so many ranks.

    Where the config leaves the number of groups open, rank 0 times a model that it holds alone;
    groups may then be larger than is assumed here, and ranks need less.
    """
    sizes, search = measured_sizes(problem), problem.config.search
    n_groups = min(problem.config.run.groups or n_ranks, search.restarts, n_ranks)
    groups = [group_of(rank, n_ranks, n_groups) for rank in range(n_ranks)]
    group_sizes = np.bincount(groups)
    shares = cache(lambda size: shares_of_group(sizes, size))

    def peak(rank: int) -> float:
        place = rank - groups.index(groups[rank])
        together = shares(n_ranks)[rank]
        alone = shares(int(group_sizes[groups[rank]]))[place]
        phases = fitting(problem, sizes, alone, together)
        if rank == 0:
            timed = [] if problem.config.run.groups else building(sizes, shares(1)[0])
            phases += [loading(sizes), *timed, *finishing(sizes, together)]
        return PROGRAM_MB + OPTIMISER_MB * (place == 0) + peak_MB(phases)

    private = [peak(rank) for rank in range(n_ranks)]
    private[0] += compiler_MB(problem)
    modes = problem.modes
    frames = 0 if modes.frames is None else modes.frames.nbytes
    inputs = sum(target_arrays(sizes.voxels, sizes.has_errors)) + modes.vectors.nbytes + frames
    return Footprint(tuple(private), LIBRARIES_MB + inputs / MB)


def peak_MB(phases: list[Phase]) -> float:
    """Peak of phases, each the sizes in bytes of arrays that exist at the same time."""
    small = [sum(array for array in phase if array <= LARGE) for phase in phases]
    kept = [min(max(small) - own, KEPT) for own in small]
    return float(max(sum(phase) + k for phase, k in zip(phases, kept, strict=True))) / MB
