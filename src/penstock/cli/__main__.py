"""The command `penstock`."""

import os
import sys

import click
from typing_extensions import override

from penstock.cli import _output, _running
from penstock.cli.chat import chat
from penstock.cli.doctor import doctor
from penstock.cli.image import image
from penstock.cli.keys import keys
from penstock.cli.models import models
from penstock.cli.mqtt import mqtt
from penstock.cli.pull import pull
from penstock.cli.rm import rm
from penstock.cli.serve import serve
from penstock.cli.show import show
from penstock.cli.stream import stream
from penstock.cli.tail import tail


class _Commands(click.Group):
    """Whatever ends a command, it ends with a status of the documented ones, and in one line."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        _output.forgiving()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(_running.INTERRUPTED)
        except _output.OutputError as error:
            if str(error):
                _output.trouble(str(error))
            sys.exit(_running.FAILED)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="penstock", prog_name="penstock")
@click.pass_context
def main(ctx: click.Context) -> None:
    """A streaming gateway for language and image models in which every generation is a durable log.

    `penstock chat` works at once, with a tiny model in this very process. `penstock serve` offers
    it, and whatever else is configured, to the clients that you have, on http://127.0.0.1:9601.

    \b
    Examples:
      penstock chat
      penstock stream "Tell me a story about a lighthouse."
      penstock image "a yellow sun over a green hill"
      penstock serve --config config.toml
      penstock models
      penstock pull hf.co/ORG/REPO      a model from the Hugging Face hub
      penstock keys create alice        a key of its own for one client
      penstock tail                     the newest streams
      penstock tail STREAM_ID           follow one, or show it again
      penstock doctor                   what is wrong, and how to fix it

    \b
    Configuration: ./config.toml, else penstock/config.toml in $XDG_CONFIG_HOME (~/.config);
    each key also from the environment, as in PENSTOCK_SERVER__PORT=9700.
    `penstock COMMAND -h` says more.
    """
    if "NO_COLOR" in os.environ:
        ctx.color = False


for _command in (serve, stream, chat, image, mqtt, models, pull, show, rm, keys, tail, doctor):
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="penstock")
