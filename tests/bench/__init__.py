"""Measures hostvm beside docker, podman and bare crun, always interleaved in one run; see PERFORMANCE.md."""
