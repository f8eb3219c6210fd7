"""The documentation builds without a warning, and every change has its fragment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


def test_the_documentation_builds(tmp_path: Path):
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/index.html").is_file()


def test_a_dead_link_is_found(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# A\n\n[nowhere](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: A\nstrict: true\n")
    assert build(tmp_path, tmp_path / "site").returncode != 0


def test_fragments_name_their_kind():
    kinds = {"feature", "bugfix", "doc", "removal", "misc"}
    fragments = [path.name for path in (ROOT / "changes").iterdir()]
    assert fragments
    assert all(name.split(".")[-2] in kinds and name.endswith(".md") for name in fragments)
