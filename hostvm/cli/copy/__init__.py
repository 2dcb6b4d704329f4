"""`cp`: files between a container and this computer."""
