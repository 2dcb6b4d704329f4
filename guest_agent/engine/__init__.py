"""The use cases: what can be done with containers, images, volumes and networks."""
