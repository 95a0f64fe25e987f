"""A real Slurm of one host for tests: slurmctld and a few slurmd, plain processes without systemd, munge or database.

Debian: `apt-get install --no-install-recommends slurmctld slurmd slurm-client`. Root is not needed.
"""

import os
import pwd
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

PROGRAMS = ("slurmctld", "slurmd", "scontrol", "sbatch", "squeue", "sinfo", "scancel", "setpriv")
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"})
IN_SERVICE = frozenset({"idle", "mixed", "allocated", "completing"})  # with a * a node has not answered

# No authentication: therefore Slurm must listen on the loopback device only (see `_address`).
# cred_expire is how long a job that was put back waits, less a second; Slurm takes no less than 5.
# SlurmdTimeout is generous: a busy test machine is no dead node, and `kill_node` tells Slurm by itself.
CONFIGURATION = """
ClusterName=rig
SlurmctldHost=localhost({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={spool}/state
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={spool}/slurmctld.pid
SlurmdPidFile={spool}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
ReturnToService=2
SlurmdTimeout=60
KillWait=2
MinJobAge=3600
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr={address} Port={port} CPUs=2 RealMemory=1000000\n"


class SlurmRig:
    """A Slurm with the nodes n1, n2, ... of two CPUs each, as long as the ``with`` lasts; logs lie in ``folder``."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self.folder = folder
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        """What a command needs to find this Slurm."""
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._held = ExitStack()
        self._spool: Path

    @staticmethod
    def missing() -> str:
        """Why there can be no rig on this machine; empty if there can."""
        absent = [program for program in PROGRAMS if _which(program) is None]
        if absent:
            return f"{', '.join(absent)}: not found; apt-get install slurm-wlm"
        name = socket.gethostname()
        if not _address().startswith("127."):
            return f"the host name {name} is not of the loopback device; echo '127.0.0.1 {name}' >> /etc/hosts"
        return ""

    def __enter__(self) -> "SlurmRig":
        self.folder.mkdir(parents=True, exist_ok=True)
        # away from ``folder``, whose name may be too long for the sockets of job steps
        self._spool = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")))
        try:
            self._configure()
            for name in ["slurmctld", *self.nodes]:
                self._start(name)
            self._wait_for_nodes(self.nodes)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """A command in the rig's folder; ``text`` is its input."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._whole_environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def ok(self, *command: str, text: str = "") -> str:
        done = self.run(*command, text=text)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def submit(self, script: str, *options: str) -> int:
        """`sbatch` of a shell script, given as text; the job's id."""
        return int(self.ok("sbatch", "--parsable", *options, text=f"#!/bin/bash\n{script}\n"))

    def job_states(self) -> dict[int, str]:
        """State of every job since the start, by id."""
        lines = self.ok("squeue", "--noheader", "--states=all", "--format=%A|%T").splitlines()
        return {int(job): state for job, state in (line.split("|") for line in lines)}

    def wait_for(self, jobs: Iterable[int], states: Collection[str], timeout: float = 30) -> dict[int, str]:
        """Wait until every job is in one of ``states``; the states of all.

        Raises:
            AssertionError: a job has ended in another state, or ``timeout`` seconds have passed.
        """
        wanted = set(jobs)

        def arrived() -> bool:
            found = {self.job_states().get(job, "") for job in wanted}
            assert not (found - set(states)) & FINAL, self._explained()
            return found <= set(states)

        self.wait_until(arrived, timeout)
        return self.job_states()

    def wait_until(self, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Ask ten times a second; ``timeout`` seconds at most."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, self._explained()
            time.sleep(0.1)

    def processes(self) -> Iterator[psutil.Process]:
        """What jobs have started and still runs, in the background and in sessions of its own, too."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()  # that of a process which is dead and not waited for is empty
                if "SLURMD_NODENAME" in environment and environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    yield process

    def kill_node(self, name: str) -> None:
        """As if its power failed; Slurm is told, so that the node's jobs are put back at once."""
        self._kill([name])
        self.ok("scontrol", "update", f"nodename={name}", "state=down", "reason=power")

    def revive_node(self, name: str) -> None:
        """Power on again; the node comes back into service by itself (ReturnToService=2)."""
        self._start(name)
        self._wait_for_nodes([name])

    def _configure(self) -> None:
        (self._spool / "state").mkdir()
        controller, *nodes = [self._reserve_port() for _ in ["slurmctld", *self.nodes]]
        user = pwd.getpwuid(os.getuid()).pw_name
        text = CONFIGURATION.format(address=_address(), port=controller, user=user, spool=self._spool)
        for name, port in zip(self.nodes, nodes, strict=True):
            text += NODE.format(name=name, address=_address(), port=port)
        Path(self.environment["SLURM_CONF"]).write_text(text)

    def _reserve_port(self) -> int:
        """A free port, kept from everybody else by a bound socket: Slurm sets SO_REUSEADDR and may listen beside it."""
        held = self._held.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((_address(), 0))
        port: int = held.getsockname()[1]
        return port

    def _start(self, name: str) -> None:
        """A daemon, which ends with this process even if that is killed."""
        words = ["slurmctld", "-D"] if name == "slurmctld" else ["slurmd", "-D", "-N", name]
        with (self.folder / f"{name}.log").open("a") as log:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", _which(words[0]) or words[0], *words[1:]],
                cwd=self.folder,
                env=self._whole_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the tests, which stop it themselves
            )

    def _stop(self) -> None:
        with self._held:
            self._kill(["slurmctld", *self.nodes])

    def _whole_environment(self) -> dict[str, str]:
        """Without what a Slurm job that the tests may run in has set."""
        foreign = ("SLURM", "SBATCH_", "SQUEUE_", "SINFO_", "SCANCEL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | self.environment

    def _wait_for_nodes(self, names: list[str]) -> None:
        def ready() -> bool:
            for name in names:
                assert self._daemons[name].poll() is None, self._explained()
            done = self.run("sinfo", "--noheader", "--Node", "--format=%T", "--nodes", ",".join(names))
            states = done.stdout.split()
            return len(states) == len(names) and set(states) <= IN_SERVICE

        self.wait_until(ready, 60)

    def _kill(self, names: list[str]) -> None:
        """SIGKILL to daemons, to the steps they began, and to whatever these started."""
        self.wait_until(lambda: not self._killed_now(names), 10)
        for name in names:
            if name in self._daemons:
                self._daemons.pop(name).wait()

    def _killed_now(self, names: list[str]) -> list[psutil.Process]:
        """Daemons first and steps next, so that none can tell Slurm about the end of another."""
        daemons = [self._daemons[name].pid for name in names if name in self._daemons]
        steps = [pid for name in names for pid in _listeners((self._spool / name).glob(f"{name}_*"))]
        found = [*_alive([*daemons, *steps])]
        for process in list(found):
            with suppress(psutil.NoSuchProcess):
                found += process.children(recursive=True)
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("SLURMD_NODENAME") in names:
                    found.append(process)
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return found

    def _explained(self) -> str:
        logs = [self.folder / f"{name}.log" for name in ["slurmctld", *self.nodes]]
        tails = [f"{path}:\n" + "\n".join(path.read_text().splitlines()[-20:]) for path in logs if path.exists()]
        return "\n".join([self.run("squeue", "--states=all", "--format=%i|%j|%T|%r|%N|%E|%S").stdout, *tails])


def _which(program: str) -> str | None:
    """Daemons lie in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def _address() -> str:
    """Where Slurm listens when configured not to do so everywhere (NoInAddrAny): at the address of the host name."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "unknown"


def _listeners(sockets: Iterable[Path]) -> Iterator[int]:
    """Processes that listen at Unix sockets: each step of a job has one in its node's spool folder."""
    for path in sockets:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(path))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            yield struct.unpack("3i", credentials)[0]


def _alive(pids: Iterable[int]) -> Iterator[psutil.Process]:
    """What is dead and not yet waited for is left out."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process
