"""HTTP/1.1 on a listening socket: bytes to `api.messages` and back. Knows no Docker resource."""
