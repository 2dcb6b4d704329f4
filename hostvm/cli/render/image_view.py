"""The columns of `images` and `history`."""

from hostvm.cli.render.container_view import go_time
from hostvm.cli.render.units import ago, ellipsis, human_size, truncate_id
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.render.view import Record


def split_tags(
    records: "list[Record]", wanted: str = "", digests: bool = False, tags_with_digests: bool = False
) -> "list[Record]":
    """A record for each name of each image, as the listing has a line for each; `<none>` where there is none.

    With `digests` that is a line for each digest; `tags_with_digests` says it of tags alone, as --format may.
    """
    rows = []
    for record in records:
        for repository, tag, digest in _names(record, digests, tags_with_digests):
            rows.append({**record, "_Repository": repository, "_Tag": tag, "_Digest": digest})
    return [row for row in rows if _is_wanted(row, wanted)]


def _names(record: "Record", all_digests: bool, tags_with_digests: bool) -> list[tuple[str, str, str]]:
    tags = [split_tag(name) for name in _texts(record.get("RepoTags")) if name != "<none>:<none>"]
    digests: dict[str, list[str]] = {}
    for name in _texts(record.get("RepoDigests")):
        if name != "<none>@<none>":
            repository, _, digest = name.partition("@")
            digests.setdefault(repository, []).append(digest)
    names = []
    for repository, tag in tags:
        shown = digests.get(repository, []) if tags_with_digests else []
        names += [(repository, tag, digest) for digest in shown or ("<none>",)]
    tagged = {repository for repository, _ in tags}
    for repository, untagged in digests.items():
        if repository not in tagged:
            names += [(repository, "<none>", digest) for digest in (untagged if all_digests else [""])]
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
        "VirtualSize": ("SIZE", lambda row: human_size(row.number("Size"), 4)),
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


def _moment(row: Row) -> str:
    """Local time as Go's RFC3339 has it."""
    from datetime import datetime

    text = datetime.fromtimestamp(row.number("Created")).astimezone().isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _since(row: Row) -> str:
    return _moment(row) if row.record["_Exact"] else ago(row.number("Created"), row.now)


def _step_size(row: Row) -> str:
    return str(row.number("Size")) if row.record["_Exact"] else human_size(row.number("Size"))


HISTORY = View(
    "*history.historyContext",
    "ID",
    ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    {
        "ID": ("IMAGE", _layer),
        "CreatedSince": ("CREATED", _since),
        "CreatedAt": ("CREATED AT", _moment),
        "CreatedBy": ("CREATED BY", _step),
        "Size": ("SIZE", _step_size),
        "Comment": ("COMMENT", lambda row: row.text("Comment")),
    },
)
