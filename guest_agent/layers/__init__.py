"""Layers: change sets unpacked once, shared by every image that has them, and written back as tar streams."""
