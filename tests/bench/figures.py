"""Turning samples into medians, ratios, a table, JSON and a plot."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Promise:
    """What the project promises: `ours` stands to `theirs` by at most `at_most` (or at least `at_least`)."""

    text: str
    ratio: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        return (self.at_most is None or self.ratio <= self.at_most) and (
            self.at_least is None or self.ratio >= self.at_least
        )

    def __str__(self) -> str:
        wanted = f"at most {self.at_most}" if self.at_most is not None else f"at least {self.at_least}"
        return f"{'kept  ' if self.kept else 'MISSED'}  {self.text}: {self.ratio:.2f} ({wanted})"


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark: samples by contender, in one unit."""

    name: str
    title: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    promises: Sequence[Promise]

    def median(self, contender: str) -> float:
        return statistics.median(self.samples[contender])


def show(result: Result) -> None:
    """A table for a terminal."""
    print(f"\n{result.title}")
    width = max(map(len, result.samples))
    for contender, samples in result.samples.items():
        print(
            f"  {contender:{width}}  median {statistics.median(samples):9.2f} {result.unit}"
            f"   lowest {min(samples):9.2f}   highest {max(samples):9.2f}   of {len(samples)}"
        )
    for promise in result.promises:
        print(f"  {promise}")


def keep(result: Result, folder: str) -> None:
    """Writes NAME.json and NAME.svg."""
    os.makedirs(folder, exist_ok=True)
    record = {**asdict(result), "medians": {name: result.median(name) for name in result.samples}}
    record["promises"] = [{**asdict(promise), "kept": promise.kept} for promise in result.promises]
    with open(f"{folder}/{result.name}.json", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
    with open(f"{folder}/{result.name}.svg", "w", encoding="utf-8") as file:
        file.write(plot(result))


def plot(result: Result) -> str:
    """An SVG: a bar for each contender's median, a dot for each sample."""
    longest = max(max(samples) for samples in result.samples.values()) or 1
    rows = [_row(number, name, result, 440 / longest) for number, name in enumerate(result.samples)]
    height = 40 + 30 * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-weight="bold">'
        f"{escape(result.title)}</text>{''.join(rows)}</svg>\n"
    )


def _row(number: int, name: str, result: Result, scale: float) -> str:
    top = 36 + 30 * number
    median = result.median(name)
    colour = "#2a7" if name.startswith("hostvm") else "#99a"
    dots = "".join(
        f'<circle cx="{190 + sample * scale:.1f}" cy="{top + 9}" r="2" fill="#333" fill-opacity="0.4"/>'
        for sample in result.samples[name]
    )
    return (
        f'<text x="10" y="{top + 14}">{escape(name)}</text>'
        f'<rect x="190" y="{top}" width="{median * scale:.1f}" height="18" fill="{colour}"/>{dots}'
        f'<text x="640" y="{top + 14}">{median:.3g} {escape(result.unit)}</text>'
    )
