"""The guest's end of the shares: carries FUSE requests from the kernel to the host, and its replies back."""
