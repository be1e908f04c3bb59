"""A stand-in for Replicate's HTTP API, with switches for what goes wrong now and then. docs/emulators.md."""

from mediakeep.emulators.replicate.app import create_app
from mediakeep.emulators.replicate.options import Options
from mediakeep.emulators.replicate.server import Running, address_of, listen, running, serve

__all__ = ["Options", "Running", "address_of", "create_app", "listen", "running", "serve"]
