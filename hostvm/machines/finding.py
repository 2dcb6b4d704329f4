"""What a probe of `doctor` found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`problem` "" means that all is well, `warning` that hostvm works all the same. `fix` is what its user can do."""

    subject: str
    problem: str = ""
    fix: str = ""
    warning: bool = False

    @property
    def broken(self) -> bool:
        return bool(self.problem) and not self.warning

    @property
    def text(self) -> str:
        """One line, and a hint below it."""
        mark = "FAIL" if self.broken else "warn" if self.problem else "ok"
        hint = f"     hint: {self.fix}\n" if self.problem and self.fix else ""
        return f"{mark:<5}{self.subject}{': ' + self.problem if self.problem else ''}\n{hint}"
