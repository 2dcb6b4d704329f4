"""Names of images, as far as the command line must understand them; the engine is the judge."""

#: The key under which docker keeps the credentials of docker.io.
DOCKER_HUB = "https://index.docker.io/v1/"


def with_tag(reference: str) -> str:
    """The reference with `:latest` where it has neither tag nor digest."""
    if "@" in reference or ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


def registry_of(reference: str) -> str:
    """The registry's host of a reference; DOCKER_HUB for a short name."""
    host, slash, _ = reference.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost") or host in ("docker.io", "index.docker.io"):
        return DOCKER_HUB
    return host


def full_name(reference: str) -> str:
    """`docker.io/library/busybox:latest` for `busybox`."""
    named = with_tag(reference)
    if registry_of(reference) != DOCKER_HUB:
        return named
    path = named.removeprefix("docker.io/").removeprefix("index.docker.io/")
    return f"docker.io/{path}" if "/" in path else f"docker.io/library/{path}"
