"""Builds of images: the Dockerfile's language, the graph of its stages, the context, the cache. See docs/decisions."""
