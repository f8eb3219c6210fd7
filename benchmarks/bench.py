"""Drives servers with the same loads in interleaved rounds: A B C, A B C, … one core each side.

The servers share one core, one at a time, once all of them are quiet; mock upstream and load
generator have the other. Every server is started once and ended by its own process id.
"""

import argparse
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import summarize
from benchmarks.fleet import Cores, Running, start, wrong
from benchmarks.loads import LOADS, arguments
from benchmarks.paths import subfolder
from benchmarks.processes import (
    BUSY,
    BenchError,
    ForeignCpu,
    free_ports,
    guarded,
    settle,
)
from benchmarks.programs import Mock, drive
from benchmarks.results import Result, add_result
from benchmarks.servers import SERVERS

ALONE: Final = "direct,nginx,penstock,penstock-always,penstock-memory"
WITH_PEERS: Final = "direct,nginx,litellm,portkey,penstock,penstock-always,penstock-memory"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line."""

    servers: list[str]
    loads: list[str]
    rounds: int
    out: Path
    cores: Cores


def main() -> None:
    """Starts everything, drives it, prints the tables."""
    options = _options()
    options.out.unlink(missing_ok=True)
    with ExitStack() as stack:
        mock_port, *ports = free_ports(1 + len(options.servers))
        mock = stack.enter_context(Mock(mock_port, options.cores.load))
        running = []
        for name, port in zip(options.servers, ports, strict=True):
            print(f"starting {name}", flush=True)
            running.append(start(name, port, mock, options.cores, stack))
        for turn in range(options.rounds):
            for load in options.loads:
                for server in running:
                    if load in (SERVERS[server.name].loads or options.loads):
                        _drive(server, load, turn, mock, running, options)
    text = summarize.report(options.out)
    options.out.with_suffix(".md").write_text(text)
    print(text)
    print(f"(each drive: {options.out}; these tables: {options.out.with_suffix('.md')})")


def _drive(
    server: Running, load: str, turn: int, mock: Mock, running: list[Running], options: Options
) -> None:
    children = [other.child for other in running if other.child]
    if server.child:
        server.child.check()
    quiet = settle(children)
    mock.set(delay_us=LOADS[load].delay_us, burst=LOADS[load].burst)
    args = [*arguments(load, server.name), *server.launch.load_args]
    if server.child:
        args += ["-P", ",".join(map(str, server.child.pids()))]
    before, foreign = _tcp_troubles(), ForeignCpu([mock.child, *children])
    try:
        measured = drive(server.port, options.cores.load, args)
    except subprocess.TimeoutExpired:
        print(f"{server.name} {load}: no result in time", flush=True)
        return
    others = foreign.cores()
    tcp = [after - was for was, after in zip(before, _tcp_troubles(), strict=True)]
    result = Result(
        server=server.name,
        load=load,
        round=turn,
        idle_mib=server.idle_mib,
        quiet=quiet,
        others=others,
        tcp=(tcp[0], tcp[1], tcp[2]),
        measured=measured,
    )
    add_result(options.out, result)
    print(_line(result), flush=True)


def _line(result: Result) -> str:
    m = result.measured
    per_chunk = m.cpu_s / m.seen * 1e6 if m.seen else 0
    first, gap = f"{m.first_p50_us / 1e3:.2f}/{m.first_p99_us / 1e3:.1f}", m.gap_p99_us / 1e3
    return (
        f"{result.round} {result.load:4s} {result.server:16s} {m.requests_s:9.1f} req/s "
        f"{m.chunks_s:9.0f} chunks/s {per_chunk:7.2f} us CPU/chunk  first {first} ms  "
        f"gap p99 {gap:.1f} ms  {m.rss_before_mib:.0f}->{m.rss_peak_mib:.0f} MiB{wrong(m)}"
        f"{'' if result.quiet else '  (the servers were not quiet)'}"
        f"{f'  (others used {result.others:.1f} cores)' if result.others > BUSY else ''}"
    )


def _tcp_troubles() -> list[int]:
    """Listen overflows, time-outs, repeated SYNs: a tail of seconds with these is TCP's."""
    rows = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines()]
    names, values = [row for row in rows if row[0] == "TcpExt:"][:2]
    found = dict(zip(names[1:], map(int, values[1:]), strict=True))
    return [found.get(name, 0) for name in ("ListenOverflows", "TCPTimeouts", "TCPSynRetrans")]


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-s", "--servers", default=ALONE, help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--peers", action="store_true", help=f"the same as -s {WITH_PEERS}")
    parser.add_argument("-w", "--loads", default="W1,W2,W2b,W3a,W4", help=f"of {', '.join(LOADS)}")
    parser.add_argument("-k", "--rounds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=None)
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    read = parser.parse_args()
    servers = (WITH_PEERS if read.peers else str(read.servers)).split(",")
    loads = str(read.loads).split(",")
    if unknown := (set(servers) - set(SERVERS)) | (set(loads) - set(LOADS)):
        raise BenchError(f"unknown: {', '.join(sorted(unknown))}")
    name = "bench-peers" if read.peers else "bench"
    return Options(
        servers=servers,
        loads=loads,
        rounds=read.rounds,
        out=(read.out or subfolder("results") / f"{name}.jsonl").resolve(),
        cores=Cores(read.gateway_core, read.load_core),
    )


if __name__ == "__main__":
    guarded(main)
