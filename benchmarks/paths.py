"""Where the benchmarks keep what they build, install and write.

`PENSTOCK_BENCH_DIR` (default `build/bench`) holds programs, Portkey, logs and results;
`PENSTOCK_BENCH_VENVS` (default `.venvs`) holds the Python environments of other projects.
"""

import os
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parent
ROOT: Final = SOURCES.parent


def build() -> Path:
    """The folder for everything that can be made again."""
    return _folder("PENSTOCK_BENCH_DIR", ROOT / "build" / "bench")


def venvs() -> Path:
    """The folder of the peers' Python environments."""
    return _folder("PENSTOCK_BENCH_VENVS", ROOT / ".venvs")


def figures() -> Path:
    """Where single figures wait for the summary."""
    return subfolder("figures")


def subfolder(name: str) -> Path:
    """A folder under `build()`, made when missing."""
    folder = build() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(variable: str, otherwise: Path) -> Path:
    folder = Path(os.environ.get(variable) or otherwise).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
