"""Runs the same things with torch and with us, and says line by line whether ours is right.

    python benchmarks/beside_torch.py                   # every line, one verdict each
    python benchmarks/beside_torch.py checkpoint -v     # lines with that word, and all their cases

Right is what torch does, where torch has it; a line says so where it is something else. The exit
status is 1 if a line is not right.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import textwrap
import warnings
from pathlib import Path

os.environ.setdefault("COLUMNS", "100")
sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).parent)]

from beside.lines import LINES, Case  # noqa: E402

for module in ("checkpoints", "steps", "command"):  # in which order they are printed
    importlib.import_module(f"beside.{module}")


def printed(case: Case) -> str:
    """A case in four lines."""
    parts = [f"  {'right' if case.right else 'WRONG'}  {case.what}"]
    for who, text in ((case.who, case.torchs), ("ours", case.ours)):
        wrapped = textwrap.wrap(text, 84, break_long_words=False, max_lines=3, placeholder=" …")
        parts += [f"         {who if n == 0 else '':6} {one}" for n, one in enumerate(wrapped)]
    return "\n".join(parts)


def main() -> int:
    """Prints the lines; 1 if one of them is not right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("words", nargs="*", help="only lines that have one of these words")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also the cases that are right"
    )
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong = 0
    for name, body in LINES.items():
        if given.words and not any(word.lower() in name.lower() for word in given.words):
            continue
        try:
            cases = list(body())
        except Exception as error:
            cases = [Case("the line itself", "", f"{type(error).__name__}: {error}", False)]
        good = sum(case.right for case in cases)
        wrong += good < len(cases)
        print(f"{'right' if good == len(cases) else 'WRONG'}  {name} ({good} of {len(cases)})")
        for case in cases:
            if given.verbose or not case.right:
                print(printed(case), flush=True)
    print(f"{wrong} lines are not right" if wrong else "every line is right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
