"""The host side of hostvm: the command line, the client and the machines."""

__version__ = "0.1.0"
