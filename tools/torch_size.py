"""Says what installing torch would fetch, and how large that is, before it is done.

    python tools/torch_size.py 'torch==2.13.*'

Asks this machine's pip, with its own settings, what it would install; nothing is installed.
"""

import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import msgspec

UNPACKED = 3
"""Wheels of torch are about this many times as large on the disk."""


class Named(msgspec.Struct):
    """What a package says it is."""

    name: str
    version: str


class Fetched(msgspec.Struct):
    """Where a package comes from."""

    url: str


class Package(msgspec.Struct):
    """One entry of pip's report."""

    metadata: Named
    download_info: Fetched


class Report(msgspec.Struct):
    """pip's installation report."""

    install: list[Package]


def planned(requirement: str) -> list[tuple[str, str, int]]:
    """Name, version and bytes of everything that is not installed yet; 0 bytes where unknown."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--dry-run", "--report", "-", requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = msgspec.json.decode(done.stdout, type=Report).install
    return [(p.metadata.name, p.metadata.version, size(p.download_info.url)) for p in found]


def size(url: str) -> int:
    """Bytes of a file, here or elsewhere."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).stat().st_size
    try:
        with urlopen(Request(url, method="HEAD"), timeout=10) as answer:
            return int(answer.headers.get("Content-Length", 0))
    except (URLError, ValueError):
        return 0


def main() -> None:
    """One line."""
    found = planned(sys.argv[1])
    if not found:
        print(f"{sys.argv[1]} is installed")
        return
    names = ", ".join(f"{name} {version}" for name, version, _ in found)
    fetched = sum(bytes_ for _, _, bytes_ in found) / 1e6
    told = f"{fetched:.0f} MB to fetch, about {fetched * UNPACKED:.0f} MB on the disk"
    print(f"Installing {names}: {told}", flush=True)


if __name__ == "__main__":
    main()
