"""The loads: what is asked of a server, how often, at what pace."""

import msgspec

from benchmarks.servers import SERVERS


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One load. `delay_us`: gap between a stream's chunks; `burst`: events in an upstream write.

    `paced`: the number of requests is fixed by the clock, not by how fast the server is.
    """

    arguments: tuple[str, ...]
    requests: int
    delay_us: int = 0
    burst: int = 1
    paced: bool = False


def _stormy(burst: int) -> Shape:
    return Shape(
        arguments=("-c", "64", "-n", "200", "-w", "1", "-T", "40"), requests=8, burst=burst
    )


def _paced(streams: int, requests: int, *, delay_ms: int = 20, ramp_ms: int = 1000) -> Shape:
    return Shape(
        arguments=("-c", str(streams), "-n", "50", "-R", str(ramp_ms), "-T", "30"),
        requests=requests,
        delay_us=delay_ms * 1000,
        paced=True,
    )


LOADS: dict[str, Shape] = {
    "W1": Shape(arguments=("-c", "1", "-n", "1", "-w", "30"), requests=0, paced=True),
    "W2": _stormy(burst=1),
    "W2b": _stormy(burst=10),
    "W3s": _paced(100, 4),
    "W3a": _paced(500, 3),
    "W3c": _paced(1000, 3),
    "W3b": _paced(2000, 2),
    "W3d": _paced(2000, 2, delay_ms=50, ramp_ms=2500),
    "W4": Shape(arguments=("-c", "64", "-s", "0", "-w", "2", "-T", "30"), requests=60),
}


def arguments(load: str, server: str) -> list[str]:
    """The load generator's arguments."""
    shape, row = LOADS[load], SERVERS[server]
    requests = row.w1_requests if load == "W1" else shape.requests
    if not shape.paced:
        requests = max(1, round(requests * row.effort))
    return [*shape.arguments, "-r", str(requests)]
