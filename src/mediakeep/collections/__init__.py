"""What assets belong to: clients, campaigns, personas, projects."""

from mediakeep.collections import service

__all__ = ["service"]
