"""The figures of docs/performance.md: `python -m bench [B1 …]`. Servers run as processes, beside what they are compared with."""
