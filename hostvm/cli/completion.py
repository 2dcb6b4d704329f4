"""Shell completion, from the table: 12 ms a keystroke, where typer's own would take 160.

The shells' scripts call `hostvm __complete WORD...`, the last word being the one at the cursor ("" for a new one), and
get a candidate a line, with its explanation behind a tab.
"""

from hostvm.cli.spec import Command, Flag
from hostvm.cli.table import COLD_VERBS, NOUN_HELP, NOUNS, VERBS, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Names = Callable[[str], list[str]]

SHELLS = ("bash", "zsh", "fish")

_SCRIPTS = {
    "bash": r"""_hostvm() {
    local IFS=$'\n' line
    COMPREPLY=()
    for line in $(hostvm __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
        COMPREPLY+=("${line%%$'\t'*}")
    done
    if [ "${#COMPREPLY[@]}" -eq 0 ]; then
        compopt -o default 2>/dev/null
    fi
}
complete -F _hostvm hostvm
""",
    "zsh": r"""#compdef hostvm
_hostvm() {
    local -a candidates
    candidates=("${(@f)$(hostvm __complete "${(@)words[2,CURRENT]}" 2>/dev/null | sed 's/:/\\:/g; s/\t/:/')}")
    if [[ -n "$candidates" ]]; then
        _describe hostvm candidates
    else
        _files
    fi
}
compdef _hostvm hostvm
""",
    "fish": r"""function __hostvm_complete
    set -l words (commandline -opc) (commandline -ct)
    hostvm __complete $words[2..-1] 2>/dev/null
end
complete -c hostvm -a '(__hostvm_complete)'
""",
}


def script(shell: str) -> str:
    """What the shell sources. Raises KeyError."""
    return _SCRIPTS[shell]


def candidates(words: list[str], names: "Names") -> list[str]:
    """Lines for the last of `words`. `names` gives what there is of a kind: "container", "image", "volume" …"""
    *before, current = words or [""]
    if not before:
        return _matching(
            current, {**{verb: load(verb).help for verb in VERBS}, **NOUN_HELP, **dict.fromkeys(COLD_VERBS, "")}
        )
    path, rest = _find(before)
    if not path:
        verbs = NOUNS.get(before[0], {}) if len(before) == 1 else {}
        return _matching(current, {verb: load(f"{before[0]} {verb}").help for verb in verbs})
    return _of_command(load(path), rest, current, names)


def _find(words: list[str]) -> tuple[str, list[str]]:
    if len(words) > 1 and words[1] in NOUNS.get(words[0], {}):
        return f"{words[0]} {words[1]}", words[2:]
    if words[0] in VERBS:
        return words[0], words[1:]
    return "", []


def _of_command(command: Command, before: list[str], current: str, names: "Names") -> list[str]:
    flag = _pending_flag(command, before)
    if flag:
        return _matching(current, dict.fromkeys(_flag_values(flag, names), ""))
    if current.startswith("-"):
        return _matching(current, {f"--{flag.name}": flag.help for flag in command.flags} | {"--help": "Explain"})
    if command.operand == "shell":
        return _matching(current, dict.fromkeys(SHELLS, ""))
    if not command.operand or (not command.interspersed and _have_operand(command, before)):
        return []
    return _matching(current, dict.fromkeys(names(command.operand), ""))


def _pending_flag(command: Command, before: list[str]) -> Flag | None:
    """The flag that waits for its value."""
    last = before[-1] if before else ""
    for flag in command.flags:
        if flag.kind != "bool" and (last == f"--{flag.name}" or (flag.short and last == f"-{flag.short}")):
            return flag
    return None


def _have_operand(command: Command, before: list[str]) -> bool:
    previous: list[str] = []
    for word in before:
        if not word.startswith("-") and not _pending_flag(command, previous):
            return True
        previous.append(word)
    return False


def _flag_values(flag: Flag, names: "Names") -> list[str]:
    fixed = {
        "network": ["bridge", "host", "none"], "net": ["bridge", "host", "none"], "format": ["json", "table"],
        "pull": ["always", "missing", "never"], "restart": ["no", "always", "on-failure", "unless-stopped"],
        "type": ["container", "image", "network", "volume"],
    }  # fmt: skip
    if flag.name in ("network", "net"):
        return [*fixed["network"], *(name for name in names("network") if name not in fixed["network"])]
    return fixed.get(flag.name, [])


def _matching(current: str, known: dict[str, str]) -> list[str]:
    return [f"{word}\t{text}" if text else word for word, text in known.items() if word.startswith(current)]
