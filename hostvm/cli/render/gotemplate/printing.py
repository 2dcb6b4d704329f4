"""Go's fmt: how values print by themselves (%v), and Sprintf."""

from hostvm.cli.render.gotemplate import TemplateError


def go_value(value: object) -> str:
    """%v: `[a b]`, `map[k:v]` by key, true, 1.5.

    JSON doesn't tell of what type a null is: nearly all in docker's answers are empty slices, which print as `[]`. A
    port binding is a struct, which prints without its names.
    """
    if value is None:
        return "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        if value.keys() == {"HostIp", "HostPort"}:
            return f"{{{value['HostIp']} {value['HostPort']}}}"
        return "map[" + " ".join(f"{key}:{go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_value, value)) + "]"
    if isinstance(value, float):
        return _go_float(value)
    return str(value)


def _go_float(value: float) -> str:
    """%v of a float64 is %g with the shortest digits that read back; exponents from 21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def sprint(*values: object) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    result = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            result += " "
        result += go_value(value)
    return result


def sprint_line(*values: object) -> str:
    """fmt.Sprintln."""
    return " ".join(map(go_value, values)) + "\n"


def sprintf(layout: object, *values: object) -> str:
    """fmt.Sprintf with the verbs v s q d x X f g t c and their flags; what doesn't fit prints as Go complains."""
    if not isinstance(layout, str):
        raise TemplateError("wrong type for value; expected string")
    result, left, rest = "", list(values), layout
    while rest:
        text, found, rest = rest.partition("%")
        result += text
        if found:
            flags, verb, rest = _split_verb(rest)
            result += "%" if verb == "%" else _formatted(flags, verb, left)
    if left:
        result += "%!(EXTRA " + ", ".join(f"{_go_type(value)}={go_value(value)}" for value in left) + ")"
    return result


def _split_verb(text: str) -> tuple[str, str, str]:
    end = 0
    while end < len(text) and text[end] in "+-# 0123456789.":
        end += 1
    return text[:end], text[end : end + 1], text[end + 1 :]


def _formatted(flags: str, verb: str, values: list[object]) -> str:
    if not verb:
        return "%!(NOVERB)"
    if not values:
        return f"%!{verb}(MISSING)"
    value = values.pop(0)
    text = _converted(flags, verb, value)
    if text is None:
        return f"%!{verb}({_go_type(value)}={go_value(value)})"
    return _padded(flags, text, verb)


def _converted(flags: str, verb: str, value: object) -> str | None:
    """The value by its verb, not padded; None where Go says that they don't fit."""
    precision = flags.partition(".")[2]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "vs" and not (verb == "s" and is_number):
        text = go_value(value)
        return text[: int(precision)] if precision and isinstance(value, str) else text
    if verb == "q" and isinstance(value, str):
        from hostvm.cli.render.container_view import quote

        return quote(value)
    if verb == "d" and isinstance(value, int) and is_number:
        return f"{'+' if '+' in flags and value >= 0 else ''}{value}"
    if verb in "xX" and isinstance(value, int | str) and not isinstance(value, bool):
        text = f"{value:x}" if isinstance(value, int) else value.encode().hex()
        return text.upper() if verb == "X" else text
    if verb in "feg" and isinstance(value, float):
        return f"{value:.{precision or (6 if verb != 'g' else 17)}{verb}}"
    if verb == "t" and isinstance(value, bool):
        return go_value(value)
    if verb == "c" and isinstance(value, int):
        return chr(value)
    return None


def _padded(flags: str, text: str, verb: str) -> str:
    width_text = flags.partition(".")[0].lstrip("+-# 0")
    width = int(width_text) if width_text else 0
    if "-" in flags:
        return text.ljust(width)
    if flags.lstrip("+# ").startswith("0") and verb in "dxXfeg":
        return text.zfill(width)
    return text.rjust(width)


def _go_type(value: object) -> str:
    names = {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}", type(None): "[]string"}
    return names.get(type(value), "map[string]interface {}")
