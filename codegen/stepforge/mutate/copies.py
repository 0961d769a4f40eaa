"""Copies of stepforge with a fault in them: what they build, and what their own rungs say of it."""

from __future__ import annotations

import ast
import compileall
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from stepforge.backends import meaning
from stepforge.backends.aside import PUBLIC
from stepforge.backends.registry import shared, verified
from stepforge.language.spec import Spec
from stepforge.mutate.mutant import AROUND, BUILD, SAME, Mutant
from stepforge.verify import processes
from stepforge.verify.certificate import Status
from stepforge.verify.files import surroundings
from stepforge.verify.files.generated import C, expected_text
from stepforge.verify.rungs.registry import OF_COPIES, RUNGS

PACKAGE = Path(__file__).parents[1]
BUILDING, JUDGING = 60, 300
"""Seconds of processor time of a program that builds, and of one that asks rungs."""


def judged(
    mutants: Sequence[Mutant], jobs: int
) -> Generator[tuple[Mutant, dict[str, str]], None, None]:
    """Judges mutants, each in a copy of the package; yields them as they are done.

    Args:
        mutants: The mutants.
        jobs: Copies at a time.
    """
    with (
        ThreadPoolExecutor(jobs) as threads,
        tempfile.TemporaryDirectory(prefix="stepforge-") as at,
    ):
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(min(jobs, len(mutants))):
            copies.put(Copy(Path(at) / str(number)))
        futures = {threads.submit(_verdicts, mutant, copies): mutant for mutant in mutants}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _verdicts(mutant: Mutant, copies: SimpleQueue[Copy]) -> dict[str, str]:
    mine = copies.get()
    try:
        return mine.verdicts(mutant)
    finally:
        copies.put(mine)


class Copy:
    """A copy of the package, in which one fault after the other is planted.

    Args:
        root: The folder for it, which is made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, root / "stepforge", ignore=ignored)
        compileall.compile_dir(root, quiet=2)
        with tempfile.TemporaryDirectory(prefix="stepforge-") as folder:
            program(root, [folder], BUILDING).check_returncode()
            self.built = meanings(Path(folder))

    def verdicts(self, mutant: Mutant) -> dict[str, str]:
        """What building says of a fault, then the rungs, until one of them refutes."""
        file, begin, end, new = json.loads(mutant.text)
        place = self.root / "stepforge" / file
        right = place.read_bytes()
        for stale in place.parent.glob(f"__pycache__/{place.stem}.*.pyc"):
            stale.unlink()  # it would be read if the new text were written in the same second
        try:
            place.write_bytes(right[:begin] + new.encode() + right[end:])
            with tempfile.TemporaryDirectory(prefix="stepforge-") as folder:
                return self._of_files(mutant.spec, Path(folder))
        finally:
            place.write_bytes(right)

    def _of_files(self, spec: Spec, folder: Path) -> dict[str, str]:
        done = program(self.root, [str(folder)], BUILDING)
        if done.returncode:
            return {BUILD: f"{Status.REFUTED}: {_last_words(done)}"}
        found = meanings(folder)
        if found == self.built:
            return {BUILD: SAME}
        said: dict[str, str] = {}
        for rungs in OF_COPIES:
            arguments = [str(folder), *rungs]
            done = program(self.root, arguments, JUDGING, not any(RUNGS[r].compiles for r in rungs))
            said |= _weakest([json.loads(line) for line in done.stdout.splitlines()])
            if done.returncode:
                unsaid = f"{Status.UNSUPPORTED}: {_last_words(done)}"
                said |= {rung: unsaid for rung in rungs if rung not in said}
            if any(what.startswith(Status.REFUTED) for what in said.values()):
                return said
        return {**said, AROUND: self._around(spec, folder, found)}

    def _around(self, spec: Spec, folder: Path, found: Mapping[str, str]) -> str:
        """Whether all that no proof reads is what the generator without a fault writes.

        Proofs read the rule, and the functions that it calls.
        """
        backends = [backend for backend in verified() if backend.name not in C]
        for backend in backends:
            text = (folder / backend.file(spec.name)).read_text(encoding="utf-8")
            expected = expected_text(spec, backend.name, cut=True)
            around = surroundings.compared(*(_without_helpers(t, spec) for t in (text, expected)))
            if around.difference:
                return f"CHANGED: {'; '.join(around.difference)[:200]}"
        copies = [name for backend in backends for name in shared([backend.name])]
        changed = [name for name in copies if found[name] != self.built[name]]
        return f"CHANGED: {', '.join(changed)}" if changed else SAME


def _without_helpers(text: str, spec: Spec) -> str:
    """A file without the functions that its rule calls."""
    tree = ast.parse(text)
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef)
        or node.name in PUBLIC
        or node.name.startswith(spec.name)
    ]
    return ast.unparse(tree)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"the process ended with {done.returncode}"


def _weakest(said: Sequence[tuple[str, str]]) -> dict[str, str]:
    """One verdict for each rung: of several option sets the worst."""
    order = (Status.REFUTED, Status.UNSUPPORTED, Status.TESTED, "PROVED (reals)", "PROVED (bits)")
    rank = {what: next(i for i, o in enumerate(order) if what.startswith(o)) for _, what in said}
    found: dict[str, str] = {}
    for rung, what in said:
        found[rung] = min(found.get(rung, what), what, key=rank.__getitem__)
    return found


def meanings(folder: Path) -> dict[str, str]:
    """The syntax trees of the Python files of a folder, as `verify` compares them."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        try:
            found[path.relative_to(folder).as_posix()] = ast.dump(meaning.tree(text))
        except surroundings.UNREADABLE:
            found[path.relative_to(folder).as_posix()] = text
    return found


def program(
    root: Path, arguments: Sequence[str], seconds: int, interpreted: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs `planted` of a copy of the package.

    Args:
        root: The folder of the copy.
        arguments: Of the program.
        seconds: Of processor time that it may take.
        interpreted: Whether with Triton's interpreter.
    """
    settings = [f"PYTHONPATH={root}", f"TRITON_INTERPRET={interpreted}", "OMP_NUM_THREADS=1"]
    program = [sys.executable, "-P", "-B", "-m", "stepforge.mutate.planted", *arguments]
    limited = ["sh", "-c", 'ulimit -t "$0" && exec "$@"', str(seconds)]
    return processes.run([*limited, "env", *settings, *program])
