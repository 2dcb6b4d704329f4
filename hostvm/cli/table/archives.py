"""Images to and from files and registries."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import FILTER, FORMAT

SAVE = Command(
    "save",
    "image_archives:save",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    (option("output", "o", "string", "Write to a file, instead of STDOUT"),),
    "IMAGE [IMAGE...]",
    1,
    None,
    operand="image",
    examples=("hostvm save -o app.tar app:1", "hostvm save app:1 | ssh other hostvm load"),
)
IMPORT = Command(
    "import",
    "image_archives:import_root",
    "Import the contents from a tarball to create a filesystem image",
    (
        many("change", "c", "string", "Apply Dockerfile instruction to the created image"),
        option("message", "m", "string", "Set commit message for imported image"),
        option("platform", "", "string", "Set platform if server is multi-platform capable"),
    ),
    "file|URL|- [REPOSITORY[:TAG]]",
    1,
    2,
    examples=("hostvm import rootfs.tar.xz team/base:1",),
)
PUSH = Command(
    "push",
    "pushing:push",
    "Upload an image to a registry",
    (
        switch("all-tags", "a", "Push all tags of an image to the repository"),
        option("compression-format", "", "string", "Compress layers that are sent with gzip or zstd"),
        switch("disable-content-trust", "", "Skip image signing", True),
        switch("quiet", "q", "Suppress verbose output"),
    ),
    "NAME[:TAG]",
    1,
    1,
    operand="image",
    examples=("hostvm push localhost:5000/team/app:1",),
)
SEARCH = Command(
    "search",
    "searching:search",
    "Search Docker Hub for images",
    (
        FILTER,
        FORMAT,
        option("limit", "", "int", "Max number of search results"),
        switch("no-trunc", "", "Don't truncate output"),
    ),
    "TERM",
    1,
    1,
)
