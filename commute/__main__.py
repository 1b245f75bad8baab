"""`python -m commute` is the command `commute`."""

from commute.cli.main import main

main()
