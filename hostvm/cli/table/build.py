"""`build` and `builder prune`."""

from hostvm.cli.spec import Command, many, option, switch

_BASIC, _FILES, _CACHE, _RUN, _MORE = (
    "Basics",
    "Files and secrets",
    "Cache",
    "The steps' containers",
    "Less often needed",
)

BUILD = Command(
    "build",
    "builds:build",
    "Build an image from a Dockerfile",
    (
        many("tag", "t", "string", 'Name and optionally a tag in the "name:tag" format', _BASIC),
        option("file", "f", "string", 'Name of the Dockerfile (default "PATH/Dockerfile"; "-" is STDIN)', group=_BASIC),
        option("target", "", "string", "Set the target build stage to build", group=_BASIC),
        many("build-arg", "", "env", "Set build-time variables: NAME=VALUE, or NAME to pass it on", _BASIC),
        option("platform", "", "string", "Build for this platform (linux/amd64)", group=_BASIC),
        switch("quiet", "q", "Suppress the build output and print image ID on success", group=_BASIC),
        option("progress", "", "string", 'Type of progress output ("auto", "plain", "tty")', "auto", _BASIC),
        many("label", "", "label", "Set metadata for an image", _BASIC),
        option("iidfile", "", "string", "Write the image ID to the file", group=_FILES),
        option("output", "o", "string", "Write the result's files to FOLDER (type=local,dest=FOLDER), or a tar of them "
               '(type=tar,dest=FILE; "-" is STDOUT), or an archive for `load` (type=docker,dest=FILE)', group=_FILES),
        many("secret", "", "string", "Secret for the build: id=NAME,src=FILE or id=NAME,env=NAME", _FILES),
        many("ssh", "", "string", "SSH agent for the build: default, or ID=SOCKET", _FILES),
        many("build-context", "", "string", "Additional build contexts: NAME=FOLDER, or NAME=docker-image://IMAGE",
             _FILES),
        switch("no-cache", "", "Do not use cache when building the image", group=_CACHE),
        switch("pull", "", "Always attempt to pull a newer version of the image", group=_CACHE),
        many("cache-from", "", "string", "Images to consider as cache sources", _CACHE),
        option("network", "", "string", "Set the networking mode for the RUN instructions", "default", _RUN),
        many("add-host", "", "host", "Add a custom host-to-IP mapping (host:ip)", _RUN),
        option("memory", "m", "size", "Memory limit", group=_RUN),
        option("memory-swap", "", "swap", "Limit of memory plus swap; -1 to enable unlimited swap", group=_RUN),
        option("shm-size", "", "size", "Size of /dev/shm", group=_RUN),
        many("ulimit", "", "ulimit", "Ulimit options (nofile=1024:2048)", _RUN),
        option("cpu-shares", "c", "int", "CPU shares (relative weight)", group=_RUN),
        option("cpu-period", "", "int", "Limit the CPU CFS period", group=_RUN),
        option("cpu-quota", "", "int", "Limit the CPU CFS quota", group=_RUN),
        option("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", group=_RUN),
        option("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", group=_RUN),
        many("security-opt", "", "string", "Security options", _RUN),
        switch("squash", "", "Squash newly built layers into a single new layer", group=_MORE),
        switch("rm", "", "Remove intermediate containers after a successful build", True, _MORE),
        switch("force-rm", "", "Always remove intermediate containers", group=_MORE),
        switch("compress", "", "Compress the build context", group=_MORE),
        option("cgroup-parent", "", "string", "Optional parent cgroup for the containers", group=_MORE),
        option("isolation", "", "string", "Container isolation technology", group=_MORE),
        switch("disable-content-trust", "", "Skip image verification", True, _MORE),
        switch("load", "", "Same as --output=type=docker, which is what happens anyway", group=_MORE),
    ),
    "PATH | URL | -",
    1,
    1,
    examples=(
        "hostvm build -t app .",
        "hostvm build -t app:dev --target dev --build-arg VERSION=1.2 .",
        "hostvm build -o out --secret id=token,src=$HOME/.token .",
        "hostvm build -t app https://github.com/team/app.git#main:docker",
    ),
)  # fmt: skip
PRUNE = Command(
    "builder prune",
    "pruning:build_cache",
    "Remove build cache",
    (
        switch("all", "a", "Remove all unused build cache, not just dangling ones"),
        many("filter", "", "filter", 'Provide filter values (e.g. "until=24h")'),
        switch("force", "f", "Do not prompt for confirmation"),
        option("keep-storage", "", "size", "Amount of disk space to keep for cache"),
    ),
    examples=(
        "hostvm builder prune -f",
        "hostvm builder prune --filter until=24h --keep-storage 10g",
    ),
)
