"""Who is the bridge: two clients of one name would throw each other off the broker for ever."""

import fcntl
import os
from hashlib import sha256
from pathlib import Path


class Claim:
    """The right to be called `name` at a broker, among the servers of this machine that share a
    folder. A lock on a file: the system gives it back when its holder dies.
    """

    def __init__(self, folder: Path, broker: str, name: str) -> None:
        self._folder = folder
        self._path = folder / f"mqtt-{sha256(f'{name}@{broker}'.encode()).hexdigest()[:16]}.lock"
        self._file = -1

    def take(self) -> bool:
        """Whether it is ours now. Raises `OSError` for a folder that can't be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def free(self) -> None:
        """Another may take it. The file stays: to remove it would give a second lock its name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
