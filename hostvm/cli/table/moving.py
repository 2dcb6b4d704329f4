"""Images from another engine's store."""

from hostvm.cli.spec import Command, switch

IMPORT_FROM = Command(
    "image import-from",
    "moving:import_from",
    "Take over the images of another engine: docker, podman, or a socket that speaks Docker's API",
    (switch("all", "a", "All images that have a name"),),
    "docker|podman|SOCKET [IMAGE...]",
    1,
    None,
    examples=("hostvm image import-from docker --all", "hostvm image import-from /run/podman/podman.sock alpine:3.20"),
)
