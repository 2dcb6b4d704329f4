"""The process that lives with a VM machine: it owns QEMU, serves engine.sock, holds ports and shared folders."""
