"""A SLURM of one node, with files, keys and ports of its own, for `slurm.py`."""

import getpass
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import environment

PATIENCE_S = 900

# More cores than the machine has, so that jobs do not wait for each other. A requeued job waits
# as long as a credential is valid: two minutes, where `cred_expire` does not say otherwise.
# MPICH names its shared memory after the job's number, and killed jobs leave it behind: numbers
# start anywhere, so as not to be those of the last time.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=20
CommunicationParameters=NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
KillWait=5
FirstJobId={first_job}
MinJobAge=86400
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 Sockets=1 CoresPerSocket=8 RealMemory=32000
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE
"""


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S):
    """Its first true value, or TimeoutError."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.3)
    raise TimeoutError(f"waited {patience_s:.0f} s for {what}")


class Cluster:
    """munged, slurmctld and slurmd in the foreground, with all that they write in one folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._daemons: list[subprocess.Popen] = []
        self.variables = environment(SLURM_CONF=str(folder / "slurm.conf"))
        self.variables["PATH"] += ":/usr/sbin:/sbin"

    def start(self) -> None:
        """Until the node says that it is idle."""
        folder = self._folder
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        settings = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
        settings["first_job"] = random.randrange(1, 2**20)
        text = SLURM_CONF.format(folder=folder, ports=free_ports(2), **settings)
        (folder / "slurm.conf").write_text(text)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        files |= {"log-file": "log", "seed-file": "seed"}
        self._daemon("munged", "-F", *(f"--{o}={folder}/munge.{e}" for o, e in files.items()))
        wait_until((folder / "munge.socket").exists, "munged", 20)
        self._daemon("slurmctld", "-D", "-c")
        wait_until(lambda: "is UP" in self.output("scontrol", "ping"), "slurmctld", 20)
        self._daemon("slurmd", "-D", "-c")
        wait_until(lambda: "idle" in self.output("sinfo", "-h", "-o", "%t"), "slurmd", 30)

    def _daemon(self, *command: str) -> None:
        """In a session of its own: Ctrl-C must not end it before the jobs are."""
        with open(self._folder / f"{command[0]}.log", "wb") as log:
            self._daemons.append(
                subprocess.Popen(command, env=self.variables, stdout=log, stderr=log)
            )

    def stop(self) -> None:
        """End the jobs, then the daemons, last started first."""
        if len(self._daemons) == 3:
            self.output("scancel", "--user", getpass.getuser())
            try:
                wait_until(lambda: not self.output("squeue", "-h").strip(), "the jobs to end", 60)
            except TimeoutError as exc:
                print(exc, file=sys.stderr)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def output(self, *command: str, **options) -> str:
        """What a command prints, errors too."""
        options = {"env": self.variables} | options
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
        return done.stdout

    def rank_pids(self, job: str) -> list[int]:
        """The processes of the job's srun, by rank."""
        table = self.output("scontrol", "listpids", f"{job}.0").splitlines()[1:]
        rows = [line.split() for line in table]
        by_rank = {int(rank): int(pid) for pid, _, _, rank, _ in rows if rank.isdigit()}
        return [by_rank[rank] for rank in sorted(by_rank)]

    def job(self, job: str) -> dict[str, str]:
        """What SLURM knows about a job: JobState, ExitCode, Restarts, ..."""
        return dict(re.findall(r"(\w+)=(\S*)", self.output("scontrol", "show", "job", "-o", job)))


def free_ports(n: int) -> list[int]:
    """TCP ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
