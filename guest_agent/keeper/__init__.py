"""The small process that holds containers while the engine restarts. Imports nothing of the rest."""
