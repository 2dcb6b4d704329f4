"""Ports of this host that lead into a machine: which are permitted (pure), how they are held, and who is connected."""
