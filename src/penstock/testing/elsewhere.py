"""Golden vectors rendered in another process: nothing but request and entries may matter.

python -m penstock.testing.elsewhere tests/vectors/dialects/DIALECT
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from penstock import registry
from penstock.core.errors import ConfigError
from penstock.core.ports import Dialect
from penstock.testing.cases import DialectVector, streamed
from penstock.testing.dialects import Subject
from penstock.wire import json


@cache
def rendered(folder: Path) -> Mapping[str, str]:
    """Case to streamed answer, of all cases of a dialect that have a stream. One process a run of
    the tests, with a hash seed of its own.
    """
    command = [sys.executable, "-m", __name__, str(folder)]
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONHASHSEED": "7"}
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | paths, capture_output=True, check=True, timeout=60
    )
    return json.decode(done.stdout, dict[str, str], ConfigError)


class ElsewhereContract:
    """Beside `VectorContract`; a subclass gives `subject`."""

    def test_another_process_renders_alike(self, subject: Subject) -> None:
        if subject.vector.read("events.jsonl") is not None:
            found = rendered(subject.vector.folder.parent)[subject.vector.folder.name]
            assert found.encode() == streamed(subject.dialect, subject.vector)


def _render(folder: Path) -> dict[str, str]:
    dialect: Dialect = registry.load("dialects", folder.name).Dialect()
    cases = [case.parent for case in sorted(folder.glob("*/events.jsonl"))]
    return {
        case.name: streamed(dialect, DialectVector(folder.name, case)).decode() for case in cases
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(json.encode(_render(Path(sys.argv[1]))))
