"""The Engine API over any stream: HTTP (sans-IO), a connection, and the private exchange."""
