"""Images: names, manifests and configurations; from registries, archives and commits into the store."""
