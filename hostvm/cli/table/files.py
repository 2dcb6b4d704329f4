"""Containers: their files."""

from hostvm.cli.spec import Command, option, switch

CP = Command(
    "cp",
    "copy.command:cp",
    "Copy files/folders between a container and the local filesystem",
    (
        switch("archive", "a", "Archive mode (copy all uid/gid information)"),
        switch("follow-link", "L", "Always follow symlinks in SRC_PATH"),
        switch("quiet", "q", "Suppress progress output during copy (automatic where no terminal is attached)"),
    ),
    "CONTAINER:SRC_PATH DEST_PATH|-  or  SRC_PATH|- CONTAINER:DEST_PATH",
    2,
    2,
    operand="container",
    examples=("hostvm cp web:/etc/nginx .", "hostvm cp site/. web:/var/www", "hostvm cp web:/logs -"),
)
DIFF = Command(
    "diff",
    "containers:diff",
    "Inspect changes to files or directories on a container's filesystem",
    (),
    "CONTAINER",
    1,
    1,
    operand="container",
    examples=("hostvm diff web",),
)
EXPORT = Command(
    "export",
    "export:export",
    "Export a container's filesystem as a tar archive",
    (option("output", "o", "string", "Write to a file, instead of STDOUT"),),
    "CONTAINER",
    1,
    1,
    operand="container",
    examples=("hostvm export -o web.tar web",),
)
