"""Programs that a benchmark starts: pinned to a core, watched, and ended by their own ids."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

FIRST_PORT = 9100
BUSY = 0.1  # cores that others may use before a figure is called disturbed
LAST_PORT = 9999  # below the range from which the system takes ports for outgoing connections


class BenchError(Exception):
    """A benchmark can't run; the message is one line that says what to do."""


def guarded(main: Callable[[], None]) -> None:
    """Runs `main` so that whatever ends it also ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def program(name: str, hint: str) -> str:
    """The full path of a program of the system."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise BenchError(f"{name} is missing: {hint}")
    return found


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nobody listens."""
    found: list[int] = []
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if len(found) == count:
            break
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    if len(found) < count:
        raise BenchError(f"no {count} free ports from {FIRST_PORT} to {LAST_PORT}")
    return found


def pinned(core: int, argv: Sequence[str]) -> list[str]:
    """The command, bound to one core."""
    if core not in os.sched_getaffinity(0):
        raise BenchError(f"core {core} is not ours: gateway and load need a core each")
    return [program("taskset", "install util-linux"), "-c", str(core), *argv]


class Child:
    """A program that was started. Ends with us, even when we are killed."""

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        leash = [program("setpriv", "install util-linux"), "--pdeathsig", "TERM"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*leash, *argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        return self._process.pid

    def pids(self) -> list[int]:
        """Its id and those of all processes below it."""
        return _family(self._process.pid)

    def cpu_seconds(self) -> float:
        """CPU time of all of them."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def rss_mib(self) -> float:
        """Resident memory of all of them; pages that they share count more than once."""
        return sum(_rss_mib(pid) for pid in self.pids())

    def wait_for_port(self, port: int, seconds: float) -> None:
        """Returns once it listens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        raise BenchError(f"{self.name} did not listen on {port} in {seconds:.0f} s; see {self.log}")

    def check(self) -> None:
        """Raises when it has ended."""
        if (status := self._process.poll()) is not None:
            said = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise BenchError(f"{self.name} ended with {status}; it said: {said[0][:300]}")

    def stop(self) -> None:
        """Asks it to end; after ten seconds ends its process group."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def settle(children: Sequence[Child], seconds: float = 20.0) -> bool:
    """Waits until the programs together use next to no CPU; false when they would not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = sum(child.cpu_seconds() for child in children)
        time.sleep(0.25)
        if sum(child.cpu_seconds() for child in children) - before < 0.025:
            return True
    return False


class ForeignCpu:
    """What programs that are none of ours use from now on."""

    def __init__(self, ours: Sequence[Child]) -> None:
        self._ours = ours
        self._begun = time.monotonic()
        self._before = self._foreign()

    def cores(self) -> float:
        """Their mean number of busy cores."""
        return max(0.0, self._foreign() - self._before) / (time.monotonic() - self._begun)

    def _foreign(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = sum(child.cpu_seconds() for child in self._ours)
        return _machine_cpu_seconds() - ended.ru_utime - ended.ru_stime - running


def _machine_cpu_seconds() -> float:
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        # The CPU clock of another process: CPUCLOCK_SCHED of ~pid, as clock_getcpuclockid makes it.
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def _rss_mib(pid: int) -> float:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0
