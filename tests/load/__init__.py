"""A hundred clients at once: what an engine's memory and descriptors do meanwhile."""
