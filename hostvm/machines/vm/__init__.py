"""The VM machine: what it is made of, as plans and files. The process that lives with it is `hostvm/supervisor`."""
