"""The kernel, thinly: one file for each of its interfaces. The only place for ctypes. Imports nothing of the rest."""
