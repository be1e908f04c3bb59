"""`python -m mediakeep`."""

from mediakeep.cli import main

main()
