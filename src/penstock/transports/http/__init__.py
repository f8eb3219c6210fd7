"""HTTP: routes from dialects, bodies from frames."""

from penstock.transports.http.app import create_app
from penstock.transports.http.server import new_loop, run

__all__ = ["create_app", "new_loop", "run"]
