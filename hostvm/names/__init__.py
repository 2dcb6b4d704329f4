"""What a machine is told of the host's names: resolver settings, and when they change."""
