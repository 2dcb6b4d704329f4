"""Manifest lists."""

from hostvm.cli.spec import Command, many, option, switch

_INSECURE = switch("insecure", "", "Allow communication with an insecure registry")

CREATE = Command(
    "manifest create",
    "manifests:create",
    "Create a local manifest list for annotating and pushing to a registry",
    (switch("amend", "a", "Amend an existing manifest list"), _INSECURE),
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    2,
    None,
    examples=("hostvm manifest create localhost:5000/app:1 localhost:5000/app:1-amd64 localhost:5000/app:1-arm64",),
)
ANNOTATE = Command(
    "manifest annotate",
    "manifests:annotate",
    "Add additional information to a local image manifest",
    (
        option("arch", "", "string", "Set architecture"),
        option("os", "", "string", "Set operating system"),
        many("os-features", "", "string", "Set operating system feature"),
        option("os-version", "", "string", "Set operating system version"),
        option("variant", "", "string", "Set architecture variant"),
    ),
    "MANIFEST_LIST MANIFEST",
    2,
    2,
)
INSPECT = Command(
    "manifest inspect",
    "manifests:inspect",
    "Display an image manifest, or manifest list",
    (_INSECURE, switch("verbose", "v", "Output additional info including layers and platform")),
    "[MANIFEST_LIST] MANIFEST",
    1,
    2,
    examples=("hostvm manifest inspect alpine:3.20",),
)
PUSH = Command(
    "manifest push",
    "manifests:push",
    "Push a manifest list to a repository",
    (_INSECURE, switch("purge", "p", "Remove the local manifest list after push")),
    "MANIFEST_LIST",
    1,
    1,
)
RM = Command(
    "manifest rm",
    "manifests:rm",
    "Delete one or more manifest lists from local storage",
    (),
    "MANIFEST_LIST [MANIFEST_LIST...]",
    1,
    None,
)
