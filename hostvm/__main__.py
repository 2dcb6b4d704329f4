"""`python -m hostvm`."""

from hostvm.cli.main import main

main()
