"""`python -m tests.fuzz NAME [SECONDS]`: looks for input that breaks the target's invariant, led by coverage.

What is found stands in .cache/fuzz/NAME beside the inputs that reached new branches, which the next run begins with.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["guest_agent"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        known = "\n".join(f"  {one:12}{target.invariant}" for one, target in TARGETS.items())
        raise SystemExit(f"usage: scripts/fuzz NAME [SECONDS]\n{known}")
    target, corpus = TARGETS[name], f".cache/fuzz/{name}"
    os.makedirs(corpus, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        with open(f"{corpus}/seed{number}", "wb") as file:
            file.write(seed)
    with open(f"{corpus}.words", "w", encoding="ascii") as file:
        file.writelines(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words)
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    print(target.invariant, file=sys.stderr)
    options = [f"-max_total_time={seconds}", f"-dict={corpus}.words", f"-artifact_prefix={corpus}.found-"]
    atheris.Setup([sys.argv[0], *options, corpus], target.check)
    atheris.Fuzz()


main()
