"""HTTP: routes from dialects, bodies from frames."""

from penstock.transports.http.app import create_app
from penstock.transports.http.server import run

__all__ = ["create_app", "run"]
