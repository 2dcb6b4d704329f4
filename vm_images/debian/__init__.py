"""Debian's archive: its formats (pure), its trust chain and its downloads."""
