"""Leaf: records in SQLite, content by digest, files written atomically, and every path that we put on disk."""
