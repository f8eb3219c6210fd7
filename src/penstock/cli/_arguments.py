"""Kinds of arguments. What none of them can be is refused as wrong usage, naming the option."""

import math
import os
from pathlib import Path
from typing import Final

import click
from typing_extensions import override

COUNT: Final = click.IntRange(1, 2**31 - 1)
"""As many as every engine can count."""


class _Text(click.ParamType[str]):
    """Text that can be sent. Bytes of no encoding come as surrogates."""

    name = "text"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is no text: some of its bytes are no UTF-8", param, ctx)
        return text


class _File(click.Path):
    """A file's name that can be said, in a line of JSON too."""

    def __init__(self, *, folders: bool) -> None:
        super().__init__(dir_okay=folders, path_type=Path)

    @override
    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        return super().convert(TEXT.convert(os.fspath(value), param, ctx), param, ctx)


class _Temperature(click.FloatRange):
    """A range has no place for what is no number, and click doesn't look."""

    def __init__(self) -> None:
        super().__init__(0, 5)

    @override
    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


TEXT: Final = _Text()
CONFIG: Final = _File(folders=True)
OUTPUT: Final = _File(folders=False)
TEMPERATURE: Final = _Temperature()
