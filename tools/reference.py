"""Writes what is made from the code: docs/configuration.md, config.example.toml, docs/cli.md.

    python tools/reference.py [--check]

`--check` writes nothing and exits 1 when one of them is stale.
"""

import sys
from pathlib import Path

from penstock.cli.__main__ import main as command
from penstock.cli._reference import markdown as cli_markdown

from penstock import registry
from penstock.config import reference

ROOT = Path(__file__).parents[1]


def made() -> dict[Path, str]:
    """Every file and what it must hold."""
    engines = {name: registry.load("engines", name).Config for name in registry.names("engines")}
    return {
        ROOT / "docs/configuration.md": reference.markdown(engines),
        ROOT / "config.example.toml": reference.example(engines),
        ROOT / "docs/cli.md": cli_markdown(command),
    }


def main() -> int:
    """Exit status 1 when `--check` found something stale."""
    stale = [
        path for path, text in made().items() if not path.is_file() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: python tools/reference.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(made()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
