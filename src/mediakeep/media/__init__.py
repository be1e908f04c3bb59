"""Bytes to facts and pixels. Plain synchronous functions; no database, no HTTP.

Whatever decodes runs in a decode process (`pool.py`); `sniff.py` and `formats.py` are safe anywhere.
"""
