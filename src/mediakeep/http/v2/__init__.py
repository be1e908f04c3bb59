"""The surface below `/api/v2`."""
