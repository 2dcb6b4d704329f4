"""A git repository as a source of files, `URL#REFERENCE:FOLDER`: how one is told, and which commands fetch it.

Pure: the engine and the command line run git each in their own way. Both are in a hurry, hence no imports.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

_PREFIXES = ("git://", "git@", "ssh://", "github.com/")
#: What git says of a server that has files only: it can't leave the history out.
_NO_SHALLOW = "dumb http transport"


def is_git(text: str) -> bool:
    """As docker tells one from another URL; ssh:// is BuildKit's."""
    url = text.partition("#")[0]
    return text.startswith(_PREFIXES) or (url.startswith(("http://", "https://")) and url.endswith(".git"))


def split_git_source(text: str) -> tuple[str, str, str]:
    """URL, reference ("HEAD" where none is named), and folder in the repository."""
    url, _, fragment = text.partition("#")
    reference, _, folder = fragment.partition(":")
    return f"https://{url}" if url.startswith("github.com/") else url, reference or "HEAD", folder.strip("/")


def checkout(url: str, reference: str) -> "Generator[tuple[str, ...], str | None, str]":
    """Arguments of git, one command after the other, to be run in an empty folder; only the newest files are fetched.

    After each, send what git complained of, or None where it succeeded. Gives the last complaint, "" if all went well.
    """
    complaint = yield ("init", "--quiet", ".")
    if complaint is None:
        complaint = yield ("fetch", "--quiet", "--depth=1", "--", url, reference)
        if complaint is not None and _NO_SHALLOW in complaint:
            complaint = yield ("fetch", "--quiet", "--", url, reference)
    if complaint is None:
        complaint = yield ("checkout", "--quiet", "FETCH_HEAD")
    if complaint is None:
        complaint = yield ("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    return complaint or ""
