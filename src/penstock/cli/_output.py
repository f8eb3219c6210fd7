"""The only place that prints. What a model says is shown without the control characters in it."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Final, TextIO

import click
from rich.console import Console, RenderableType
from rich.text import Text

from penstock.wire import json

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What could move the cursor, retitle the window or answer in the user's name; not LF and TAB."""

_WIDE: Final = 240


class OutputError(Exception):
    """Nothing can be shown any more. Without a text where that needs no word: who read the pipe has
    left.
    """


def forgiving() -> None:
    """What a terminal's encoding has no place for is shown as `?` from now on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def clean(text: str) -> str:
    """Text of others, made harmless for a terminal."""
    return _CONTROL.sub("", text)


def say(text: str = "", *, dim: bool = False, bold: bool = False) -> None:
    """One line on standard output."""
    with written(sys.stdout):
        click.secho(clean(text), dim=dim or None, bold=bold or None)


def write(text: str, *, dim: bool = False, colour: str | None = None) -> None:
    """A piece of text, at once and without a line end."""
    with written(sys.stdout):
        click.secho(clean(text), nl=False, dim=dim or None, fg=colour)


def note(text: str, *, dim: bool = True) -> None:
    """One line on standard error, beside the result."""
    click.secho(clean(text), err=True, dim=dim or None)


def trouble(text: str) -> None:
    """What went wrong and what to do, on standard error."""
    click.secho(f"penstock: {clean(text)}", err=True, fg="red")


def machine(value: object) -> None:
    """One line of JSON on standard output."""
    with written(sys.stdout):
        click.echo(json.encode(value).decode())


def cells(*texts: str) -> tuple[Text, ...]:
    """A row of a table. Nothing in them is markup: `[a-z]` is part of a name or a pattern."""
    return tuple(Text(clean(text)) for text in texts)


def draw(what: RenderableType) -> None:
    """A table or another thing of rich's."""
    with written(sys.stdout):
        console().print(what)


def console(*, aside: bool = False) -> Console:
    """A console of rich on standard output (`aside`: error) as it is now; wide where nobody
    looks.
    """
    found = Console(highlight=False, stderr=aside)
    return found if found.is_terminal else Console(highlight=False, stderr=aside, width=_WIDE)


@contextmanager
def written(stream: TextIO) -> Iterator[None]:
    """What is written in it. Raises `OutputError`."""
    try:
        yield
    except OSError as error:
        # What is still unwritten would be tried again at the end, and be a traceback there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        closed = error.errno == errno.EPIPE
        raise OutputError("" if closed else f"output can't be written: {error.strerror}") from error
