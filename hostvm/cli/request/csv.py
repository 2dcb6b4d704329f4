"""One line of CSV with double quotes, as Go's encoding/csv reads it."""


def split_csv(text: str) -> list[str]:
    """The fields. Raises ValueError in Go's words; columns are counted in bytes, from 1."""
    if not text:
        raise ValueError("EOF")
    fields: list[str] = []
    position = 0
    while True:
        read = _quoted if text.startswith('"', position) else _bare
        field, position = read(text, position)
        fields.append(field)
        if position >= len(text):
            return fields
        position += 1  # the comma


def _bare(text: str, start: int) -> tuple[str, int]:
    comma = text.find(",", start)
    end = len(text) if comma < 0 else comma
    quote = text.find('"', start, end)
    if quote >= 0:
        raise _complaint(text, quote, 'bare " in non-quoted-field')
    return text[start:end], end


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Two quotes are one; the last one stands before a comma or at the end."""
    field, position = "", start + 1
    while True:
        quote = text.find('"', position)
        if quote < 0:
            raise _complaint(text, len(text), 'extraneous or missing " in quoted-field')
        field += text[position:quote]
        follows = text[quote + 1 : quote + 2]
        if follows in ("", ","):
            return field, quote + 1
        if follows != '"':
            raise _complaint(text, quote, 'extraneous or missing " in quoted-field')
        field, position = f'{field}"', quote + 2


def _complaint(text: str, index: int, what: str) -> ValueError:
    column = len(text[:index].encode("utf-8", "surrogateescape")) + 1
    return ValueError(f"parse error on line 1, column {column}: {what}")
