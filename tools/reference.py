"""Writes what is made from the code: docs/configuration.md, config.example.toml, docs/cli.md.

    python tools/reference.py [--check]

`--check` writes nothing and exits 1 when one of them is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from penstock import registry
from penstock.cli.__main__ import main as command
from penstock.config import reference

CLI_HEAD = """\
# Command line

<!-- Made by `python tools/reference.py` from the commands' own help. -->

How the server is found: `[client.api] endpoint` of the configuration, if there is one; else the
address of its `[server]`, if a Penstock answers there within 300 ms; else a gateway in the
command's own process. A key for a server on this machine comes from `PENSTOCK_KEY`, else from the
configuration. Proxies are taken from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, on the way to a
named endpoint only.

Exit status everywhere: 0 done, 1 failed (with a line that says what to do; without one where the
reader of the output has left, as in `| head`), 2 wrong usage, 130 Ctrl-C. `penstock serve` ends
with 0 when Ctrl-C or SIGTERM stops it while it listens."""
ROOT = Path(__file__).parents[1]


def made() -> dict[Path, str]:
    """Every file and what it must hold."""
    engines = {name: registry.load("engines", name).Config for name in registry.names("engines")}
    return {
        ROOT / "docs/configuration.md": reference.markdown(engines),
        ROOT / "config.example.toml": reference.example(engines),
        ROOT / "docs/cli.md": cli_markdown(),
    }


def cli_markdown() -> str:
    """Every command's help, as `--help` prints it at 88 columns."""
    parts = [CLI_HEAD]
    own = {**command.context_settings, "max_content_width": 88, "terminal_width": 88}
    context = click.Context(command, info_name="penstock", **own)
    parts.append(block(command.get_help(context)))
    parts += _below(command, context, "penstock")
    return "\n\n".join(parts) + "\n"


def _below(group: click.Group, context: click.Context, path: str) -> Iterator[str]:
    """Every command of a group, and of the groups in it."""
    for name, one in group.commands.items():
        inner = click.Context(one, parent=context, info_name=name, terminal_width=88)
        depth = "#" * (len(path.split()) + 1)
        yield f"{depth} `{path} {name}`\n\n" + block(one.get_help(inner))
        if isinstance(one, click.Group):
            yield from _below(one, inner, f"{path} {name}")


def block(text: str) -> str:
    """As a block of plain text."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```"


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
