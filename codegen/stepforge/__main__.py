"""`python -m stepforge` is `stepforge`."""

from stepforge.commands.cli import main

main()
