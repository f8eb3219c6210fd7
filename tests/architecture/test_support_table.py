"""The table of what each dialect can say is made from the vectors, has no gap, and is fresh."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_is_fresh_and_every_cell_has_its_evidence():
    done = subprocess.run(
        [sys.executable, "tools/support.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
