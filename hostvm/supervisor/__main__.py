"""`python -m hostvm.supervisor`, started by the command line; nobody types it."""

from hostvm.supervisor.main import main

main()
