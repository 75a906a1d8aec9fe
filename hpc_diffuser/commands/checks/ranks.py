"""What the facts of all ranks tell together."""

from pathlib import Path

from hpc_diffuser.commands.checks.files import SHARED_FOLDER
from hpc_diffuser.commands.checks.finding import Finding
from hpc_diffuser.commands.checks.process import RankFacts
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.system.errors import DiffuserError

BUSY = 0.2  # of a core, which a waiting rank may use
LEAST_SHARED_MB = 60.0  # MPI's own; containers have 64 MB unless asked for more
SKEW_S = 1.0


def of_ranks(facts: list[RankFacts]) -> list[Finding]:
    """What the ranks' facts tell together."""
    return [
        hosts(facts),
        processors(facts),
        cpu_models(facts),
        blas(facts),
        waiting(facts),
        signals(facts),
        clocks(facts),
        shared_memory(facts),
    ]


def by_host(facts: list[RankFacts]) -> dict[str, list[RankFacts]]:
    """The ranks of every host."""
    found: dict[str, list[RankFacts]] = {}
    for fact in facts:
        found.setdefault(fact.host, []).append(fact)
    return found


def hosts(facts: list[RankFacts]) -> Finding:
    """Where the ranks are."""
    counts = [f"{host} (ranks: {len(own)})" for host, own in by_host(facts).items()]
    more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
    return Finding("hosts", f"{', '.join(counts[:8])}{more}")


def processors(facts: list[RankFacts]) -> Finding:
    """CPUs against ranks x threads, on the host that is shortest of them."""

    def crowding(own: list[RankFacts]) -> float:
        return sum(f.threads for f in own) / len({cpu for f in own for cpu in f.cpus})

    host, own = max(by_host(facts).items(), key=lambda item: crowding(item[1]))
    n_cpus = len({cpu for f in own for cpu in f.cpus})
    fewest = min(own, key=lambda f: len(f.cpus) / f.threads)
    threads = sum(f.threads for f in own)
    text = (
        f"ranks x threads: {len(own)} x {fewest.threads} on {n_cpus} CPUs of {host}; "
        f"a rank may run on {len(fewest.cpus)} of them"
    )
    if threads > n_cpus:
        problem = (
            f"{threads} threads share {n_cpus} CPUs on {host}: start fewer ranks there, lower "
            "NUMBA_NUM_THREADS, or let the launcher give each rank its own (srun "
            "--cpus-per-task=$SLURM_CPUS_PER_TASK, mpirun --bind-to none)"
        )
        return Finding("CPUs", text, problem)
    if fewest.threads > len(fewest.cpus):
        problem = (
            f"a rank on {host} is bound to {len(fewest.cpus)} CPUs, but will start "
            f"{fewest.threads} threads: srun --cpus-per-task=$SLURM_CPUS_PER_TASK, "
            "mpirun --bind-to none, or lower NUMBA_NUM_THREADS"
        )
        return Finding("CPUs", text, problem)
    return Finding("CPUs", text)


def cpu_models(facts: list[RankFacts]) -> Finding:
    """The kinds of CPU: only on one kind are results the same bit for bit."""
    kinds = sorted({fact.cpu for fact in facts})
    differ = "; results may differ in their last bits from one kind to the other"
    return Finding("CPU model", " | ".join(kinds) + differ * (len(kinds) > 1))


def blas(facts: list[RankFacts]) -> Finding:
    """BLAS must have one thread: its results change with them."""
    threads = sorted({n for fact in facts for n in fact.blas_threads})
    text = f"BLAS threads {', '.join(map(str, threads)) or 'none loaded'}"
    wrong = [n for n in threads if n != 1]
    problem = (
        "BLAS has more than one thread, with which results change: set OPENBLAS_NUM_THREADS=1, "
        "OMP_NUM_THREADS=1 and MKL_NUM_THREADS=1 before Python starts"
    )
    return Finding("threads", text, problem if wrong else None)


def waiting(facts: list[RankFacts]) -> Finding:
    """Whether ranks that wait leave their core to others."""
    if len(facts) == 1:
        return Finding("waiting", "one rank waits for nobody")
    most = max(fact.waiting for fact in facts)
    text = f"a waiting rank uses {100 * most:.0f} % of a core"
    problem = (
        f"ranks that wait use {100 * most:.0f} % of a core, and slow down the others where cores "
        "are shared: start no more ranks than there are CPUs"
    )
    return Finding("waiting", text, problem if most > BUSY else None)


def signals(facts: list[RankFacts]) -> Finding:
    """Whether the signals that ask for a clean stop can reach the ranks."""
    blocked = sorted({name for fact in facts for name in fact.blocked})
    ignored = sorted({name for fact in facts for name in fact.ignored})
    text = "USR1, TERM and INT can stop a fit cleanly"
    if ignored:
        text += f" ({', '.join(ignored)} ignored until a fit listens)"
    if not blocked:
        return Finding("signals", text)
    names = ", ".join(blocked)
    problem = (
        f"{names} blocked by what started this process: a fit would not hear that it should stop: "
        "start it another way, or give it hpc-diffuser fit --max-hours"
    )
    return Finding("signals", f"blocked: {names}", problem)


def clocks(facts: list[RankFacts]) -> Finding:
    """How far the hosts' clocks are apart, to about what a message takes."""
    skew = max(fact.clock for fact in facts) - min(fact.clock for fact in facts)
    note = ": times in logs and of files will not agree" if skew > SKEW_S else ""
    return Finding("clocks", f"within {max(skew, 1e-3):.3f} s of each other{note}")


def shared_memory(facts: list[RankFacts]) -> Finding:
    """Room in /dev/shm, where MPI and a node's common inputs lie."""
    least = min(facts, key=lambda fact: fact.shared_MB)
    text = f"{least.shared_MB:.0f} MB free in {SHARED_FOLDER} of {least.host}"
    problem = (
        f"{least.host} has {least.shared_MB:.0f} MB left in {SHARED_FOLDER}, which MPI needs on a "
        "node: remove what dead jobs have left there, or give a container more "
        "(docker run --shm-size=1g)"
    )
    short = len(facts) > 1 and least.shared_MB < LEAST_SHARED_MB
    return Finding("shared mem", text, problem if short else None)


def memory(config: Path | None, facts: list[RankFacts]) -> Finding:
    """What the ranks may use, against what the fit of a config will need."""
    limits = {f"{fact.limit.MB:.0f} MB a node ({fact.limit.source})" for fact in facts}
    limits |= {f"{f.process.MB:.0f} MB a rank ({f.process.source})" for f in facts if f.process}
    if config is None:
        return Finding("memory", ", ".join(sorted(limits)))
    try:
        from hpc_diffuser.fit.footprint import Node, memory_text, predict, refusal
        from hpc_diffuser.fit.problem import load_problem

        footprint = predict(load_problem(load_config(config)), len(facts))
    except (DiffuserError, RuntimeError) as exc:
        return Finding("memory", ", ".join(sorted(limits)), " ".join(str(exc).split()))
    nodes = [Node(fact.host, fact.limit, fact.process) for fact in facts]
    return Finding("memory", memory_text(footprint, nodes), refusal(footprint, nodes))
