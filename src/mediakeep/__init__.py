"""Mediakeep: a self-hosted media library and backend for generated media."""

__version__ = "0.1.0"
