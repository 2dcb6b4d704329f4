"""The Docker Engine API: one file per resource, each parse -> one engine call -> response. No sockets, no logic."""
