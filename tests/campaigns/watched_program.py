"""The program with its steps noted in a file, and with a failure on demand.

`interrupt.py` and `failing_ranks.py` launch this file in place of `hpc_diffuser`: the arguments
are the program's own. What it should do besides comes in environment variables:

`WATCH_LOG`
    File to which each step appends a line `seconds pid rank step details`, at once, so that the
    lines survive a SIGKILL of their process.
`WATCH_EVALUATION_S`, `WATCH_SAVING_S`
    How much longer an evaluation, and the replacing of a file, should take.
`WATCH_FAILURE`
    `rank place how`: this rank fails there; see `failing_ranks.PLACES` and `FAILURES`. The
    moment is written to the file `failed_at`.

Modules are changed right after they were imported: the program's order of imports, signal
handlers and MPI's start must stay what it is.
"""

import faulthandler
import importlib.machinery
import os
import signal
import sys
import time

# Not by the program's own module: importing it would import others before they are watched.
RANK = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")))
LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
EVALUATION_S = float(os.environ.get("WATCH_EVALUATION_S", "0"))
SAVING_S = float(os.environ.get("WATCH_SAVING_S", "0"))
FAILING_RANK, FAILING_PLACE, FAILURE = os.environ.get("WATCH_FAILURE", "-1 - -").split(" ", 2)
# Where a rank passes often, it fails not at the first time: a job that is well under way.
PASSES = {"evaluation": 2, "saving": 2}
PASSED: list[str] = []  # the places, as often as this process has come by
PROPOSED: list[int] = []  # evaluations done before, of a proposal that will be evaluated next


def note(step: str) -> None:
    """Append a line; one small write to a file opened for appending is never torn."""
    os.write(LOG, f"{time.monotonic():.6f} {os.getpid()} {RANK} {step}\n".encode())


def fail_at(place: str) -> None:
    """Fail if it was asked for here, on this rank."""
    PASSED.append(place)
    if int(FAILING_RANK) != RANK or place != FAILING_PLACE:
        return
    if PASSED.count(place) < PASSES.get(place, 1):
        return
    with open("failed_at", "w") as file:
        file.write(str(time.monotonic()))
    fail()


def fail() -> None:
    """The failure, by its name."""
    if FAILURE == "RuntimeError":
        raise RuntimeError("deliberate")
    if FAILURE == "InputError":
        from hpc_diffuser.system.errors import InputError

        raise InputError("bad on one rank")
    name, _, number = FAILURE.rstrip(")").partition("(")
    if name == "sys.exit":
        sys.exit(int(number))
    if name == "os._exit":
        os._exit(int(number))
    os.kill(os.getpid(), getattr(signal, name))


def shared_segments() -> set[str]:
    """Files in memory that MPI has made: they outlive a job that is killed."""
    with open("/proc/self/maps") as file:
        words = file.read().split()
    return {word for word in words if word.startswith("/dev/shm/")}


def watch_stopping(module) -> None:
    """Handlers are in place; MPI has not been started."""
    watch = module.watch_signals

    def watch_signals(*arguments, **named) -> None:
        watch(*arguments, **named)
        note("handlers")
        fail_at("start")

    module.watch_signals = watch_signals


def watch_communicator(module) -> None:
    """MPI has started; a broadcast after the first evaluation is about to begin."""
    world, broadcast = module.world, module.Ranks.broadcast

    def watched_world():
        first = module._world is None
        ranks = world()
        if first:
            note(" ".join(["mpi", *shared_segments()]))
            fail_at("mpi")
        return ranks

    def watched_broadcast(self, *arguments, **named):
        if "evaluation" in PASSED:
            fail_at("collective")
        return broadcast(self, *arguments, **named)

    module.world, module.Ranks.broadcast = watched_world, watched_broadcast


def watch_model(module) -> None:
    """A map is being calculated: for an evaluation, for the number of samples, or the last."""
    compute = module.ForwardModel.internal_motion

    def internal_motion(self, *arguments, **named):
        if PROPOSED:
            note(f"evaluate {PROPOSED.pop()}")
        time.sleep(EVALUATION_S / 2)
        fail_at("evaluation")
        intensity = compute(self, *arguments, **named)
        time.sleep(EVALUATION_S / 2)
        return intensity

    module.ForwardModel.internal_motion = internal_motion


def watch_refinement(module) -> None:
    """A group's root proposes what to evaluate."""
    search_method = module.search_method

    def watched_method(name):
        propose = search_method(name)

        def watched_propose(history, *arguments, **named):
            note(f"propose {len(history)}")
            PROPOSED[:] = [len(history)]
            return propose(history, *arguments, **named)

        return watched_propose

    module.search_method = watched_method


def watch_checkpoints(module) -> None:
    """A group's root saves a restart."""
    write = module.write_checkpoint

    def write_checkpoint(path, history, *arguments, **named):
        note(f"saving {path.stem} {len(history)}")
        fail_at("saving")
        write(path, history, *arguments, **named)
        note(f"saved {path.stem} {len(history)}")

    module.write_checkpoint = write_checkpoint


def watch_outcome(module) -> None:
    """The search is over: the final map is made."""
    finish = module.finish

    def watched_finish(*arguments, **named):
        note("finishing")
        return finish(*arguments, **named)

    module.finish = watched_finish


WATCHED = {
    "hpc_diffuser.system.stopping": watch_stopping,
    "hpc_diffuser.parallel.communicator": watch_communicator,
    "hpc_diffuser.scattering.model": watch_model,
    "hpc_diffuser.fit.refinement": watch_refinement,
    "hpc_diffuser.fit.run.checkpoints": watch_checkpoints,
    "hpc_diffuser.fit.results": watch_outcome,
}


class Watcher:
    """An importer of the watched modules: as usual, and then the change."""

    @staticmethod
    def find_spec(name, path, target=None):
        """The usual specification, whose loader then goes on to change the module."""
        if name not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module) -> None:
            load(module)
            WATCHED[name](module)

        spec.loader.exec_module = exec_module
        return spec


def slow_replace(replace=os.replace):
    """`os.replace` after a pause, so that kills hit between a file's writing and its renaming."""

    def replace_later(source, destination, **named):
        if str(destination).endswith((".h5", ".json")):
            time.sleep(SAVING_S)
        replace(source, destination, **named)

    return replace_later


if __name__ == "__main__":
    # On SIGQUIT every thread says on standard error where it is: to see where a rank hangs.
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    sys.meta_path.insert(0, Watcher)
    os.replace = slow_replace()
    note("start")
    from hpc_diffuser.commands.main import main

    main()
