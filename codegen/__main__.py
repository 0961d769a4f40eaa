"""`python -m codegen` is `stepforge`."""

from codegen.cli import main

main()
