"""llama.cpp's own HTTP server in a process of its own, as xllamacpp brings it.

With the threads and slots that the embedded engine takes for a model this small; all else is the
library's choice.

    python -m benchmarks.library_server PORT
"""

import sys
import threading
from typing import Final

import xllamacpp

from benchmarks.paths import ROOT
from benchmarks.processes import BenchError, guarded

MODEL: Final = ROOT / "src" / "penstock" / "models" / "penstock-demo.gguf"
SLOTS: Final = 4
_CONTEXT: Final = 4096
_THREADS: Final = 1


def main() -> None:
    """Serves until it is ended."""
    if not MODEL.exists():
        raise BenchError(f"{MODEL} is missing")
    params = xllamacpp.CommonParams()
    params.model.path = str(MODEL)
    params.port = int(sys.argv[1])
    params.n_parallel = SLOTS
    params.n_ctx = _CONTEXT * SLOTS
    params.cpuparams.n_threads = _THREADS
    params.cpuparams_batch.n_threads = _THREADS
    params.warmup = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    guarded(main)
