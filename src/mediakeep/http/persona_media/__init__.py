"""Personas, and the images and videos that belong to them: `/personas` and `/media`."""
