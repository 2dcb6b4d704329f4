"""Benchmarks of the VM machine: boot and resume, channel, forwarded ports; each beside a stated baseline."""
