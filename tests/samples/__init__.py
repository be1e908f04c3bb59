"""Test media made by code, each kind once per process: real files with known facts, and hostile ones."""
