"""The columns of `images` and `history`."""

from hostvm.cli.render.container_view import go_time
from hostvm.cli.render.units import ago, ellipsis, human_size, truncate_id
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.render.view import Record


def split_tags(records: "list[Record]", wanted: str = "") -> "list[Record]":
    """A record for each name of each image, as the listing has a line for each; `<none>` where there is none."""
    rows = []
    for record in records:
        for repository, tag, digest in _names(record):
            rows.append({**record, "_Repository": repository, "_Tag": tag, "_Digest": digest})
    return [row for row in rows if _is_wanted(row, wanted)]


def _names(record: "Record") -> list[tuple[str, str, str]]:
    tags = [split_tag(name) for name in _texts(record.get("RepoTags")) if name != "<none>:<none>"]
    digests = dict(name.split("@", 1) for name in _texts(record.get("RepoDigests")) if name != "<none>@<none>")
    tagged = {repository for repository, _ in tags}
    names = [(repository, tag, digests.get(repository, "<none>")) for repository, tag in tags]
    names += [(repository, "<none>", digest) for repository, digest in digests.items() if repository not in tagged]
    return names or [("<none>", "<none>", "<none>")]


def split_tag(name: str) -> tuple[str, str]:
    """("localhost:5000/a", "1") of "localhost:5000/a:1"."""
    repository, _, tag = name.rpartition(":")
    return (repository, tag) if "/" not in tag and repository else (name, "<none>")


def _is_wanted(row: "Record", wanted: str) -> bool:
    """Whether a line is what `images NAME[:TAG]` asks for; the engine picks images, a line is one of their names."""
    if not wanted or any(letter in wanted for letter in "*?[@"):
        return True
    repository, tag = split_tag(wanted)
    return row["_Repository"] == repository and tag in ("<none>", row["_Tag"])


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _id(row: Row) -> str:
    return row.text("Id") if row.full else truncate_id(row.text("Id"))


def _count(row: Row) -> str:
    number = row.number("Containers")
    return "N/A" if number < 0 or "Containers" not in row.record else str(number)


def _shared(row: Row) -> str:
    return "N/A" if row.number("SharedSize") < 0 else human_size(row.number("SharedSize"))


def _unique(row: Row) -> str:
    shared = row.number("SharedSize")
    return "N/A" if shared < 0 else human_size(row.number("Size") - shared)


IMAGES = View(
    "*formatter.imageContext",
    "ID",
    ("Repository", "Tag", "ID", "CreatedSince", "Size"),
    {
        "ID": ("IMAGE ID", _id),
        "Repository": ("REPOSITORY", lambda row: row.text("_Repository")),
        "Tag": ("TAG", lambda row: row.text("_Tag")),
        "Digest": ("DIGEST", lambda row: row.text("_Digest")),
        "CreatedSince": ("CREATED", lambda row: ago(row.number("Created"), row.now)),
        "CreatedAt": ("CREATED AT", lambda row: go_time(row.number("Created"))),
        "Size": ("SIZE", lambda row: human_size(row.number("Size"))),
        "Containers": ("CONTAINERS", _count),
        "VirtualSize": ("SIZE", lambda row: human_size(row.number("Size"))),
        "SharedSize": ("SHARED SIZE", _shared),
        "UniqueSize": ("UNIQUE SIZE", _unique),
    },
)


def _step(row: Row) -> str:
    text = row.text("CreatedBy").replace("\t", " ")
    return text if row.full else ellipsis(text, 45)


def _layer(row: Row) -> str:
    identifier = row.text("Id")
    return identifier if row.full or identifier.startswith("<") else truncate_id(identifier)


HISTORY = View(
    "*history.historyContext",
    "ID",
    ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    {
        "ID": ("IMAGE", _layer),
        "CreatedSince": ("CREATED", lambda row: ago(row.number("Created"), row.now)),
        "CreatedAt": ("CREATED AT", lambda row: go_time(row.number("Created"))),
        "CreatedBy": ("CREATED BY", _step),
        "Size": ("SIZE", lambda row: human_size(row.number("Size"))),
        "Comment": ("COMMENT", lambda row: row.text("Comment")),
    },
)
