"""Images."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import FILTER, FORMAT, INSPECT_FORMAT

IMAGES = Command(
    "images",
    "images:ls",
    "List images",
    (
        switch("all", "a", "Show all images (default hides intermediate images)"),
        switch("digests", "", "Show digests"),
        FILTER,
        FORMAT,
        switch("no-trunc", "", "Don't truncate output"),
        switch("quiet", "q", "Only show image IDs"),
    ),
    "[REPOSITORY[:TAG]]",
    0,
    1,
    operand="image",
    examples=("hostvm images", "hostvm images -q busybox"),
)
PULL = Command(
    "pull",
    "images:pull",
    "Download an image from a registry",
    (
        switch("all-tags", "a", "Download all tagged images in the repository"),
        switch("disable-content-trust", "", "Skip image verification", True),
        option("platform", "", "string", "Take the image for this platform (linux/amd64)"),
        switch("quiet", "q", "Suppress verbose output"),
    ),
    "NAME[:TAG|@DIGEST]",
    1,
    1,
    operand="image",
    examples=("hostvm pull alpine:3.20", "hostvm pull --platform linux/arm64 registry.example.org/team/app"),
)
RMI = Command(
    "rmi",
    "images:rm",
    "Remove one or more images",
    (switch("force", "f", "Force removal of the image"), switch("no-prune", "", "Do not delete untagged parents")),
    "IMAGE [IMAGE...]",
    1,
    None,
    operand="image",
    examples=("hostvm rmi alpine:3.20",),
)
TAG = Command(
    "tag",
    "images:tag",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    (),
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    2,
    2,
    operand="image",
    examples=("hostvm tag busybox localhost:5000/busybox:1",),
)
LOAD = Command(
    "load",
    "images:load",
    "Load an image from a tar archive or STDIN",
    (
        option("input", "i", "string", "Read from tar archive file, instead of STDIN"),
        switch("quiet", "q", "Suppress the load output"),
    ),
    examples=("hostvm load -i app.tar",),
)
HISTORY = Command(
    "history",
    "images:history",
    "Show the history of an image",
    (
        FORMAT,
        switch("human", "H", "Print sizes and dates in human readable format", True),
        switch("no-trunc", "", "Don't truncate output"),
        switch("quiet", "q", "Only show image IDs"),
    ),
    "IMAGE",
    1,
    1,
    operand="image",
)
COMMIT = Command(
    "commit",
    "images:commit",
    "Create a new image from a container's changes",
    (
        option("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        many("change", "c", "string", "Apply Dockerfile instruction to the created image"),
        option("message", "m", "string", "Commit message"),
        switch("pause", "p", "Pause container during commit", True),
    ),
    "CONTAINER [REPOSITORY[:TAG]]",
    1,
    2,
    operand="container",
)
INSPECT = Command(
    "image inspect",
    "inspect:image",
    "Display detailed information on one or more images",
    (INSPECT_FORMAT,),
    "IMAGE [IMAGE...]",
    1,
    None,
    operand="image",
    examples=("hostvm image inspect -f '{{.Config.Cmd}}' busybox",),
)
