"""The engine: a container engine that always believes that it is root on Linux."""
