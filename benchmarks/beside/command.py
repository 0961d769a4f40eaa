"""The folder that `build` writes, and the command: beside what packages and terminals expect."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from . import lines
from .lines import line

Case = partial(lines.Case, who="right")
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT / "codegen"), str(ROOT)]),
    "PYTHONUTF8": "1",
    "NO_COLOR": "1",
}
COMMAND = [sys.executable, "-m", "stepforge"]
LION = (ROOT / "specs" / "lion.toml").read_text("utf-8")


def run(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder, without a terminal."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def in_terminal(*words: str, cwd: Path, columns: int) -> str:
    """What the command prints on a terminal so wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=cwd,
        env={**environment, "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=subprocess.DEVNULL,
    )
    os.close(follower)
    found = b""
    with contextlib.suppress(OSError):
        while part := os.read(leader, 65536):
            found += part
    process.wait()
    os.close(leader)
    return found.decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def folder(**specs: str) -> Iterator[Path]:
    """An empty folder with these specs in `specs/`."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        if specs:
            (path / "specs").mkdir()
        for name, text in specs.items():
            (path / "specs" / f"{name}.toml").write_text(text, "utf-8")
        yield path


def named(name: str, text: str = LION) -> str:
    """Lion's spec under another name and title."""
    return text.replace('name = "lion"', f'name = "{name}"').replace('"Lion"', f'"{name}"')


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Exit status and output in one line."""
    text = " ".join((done.stderr + done.stdout).split())
    return f"exit status {done.returncode}: {text}"


def refused(what: str, done: subprocess.CompletedProcess[str], *names: str) -> lines.Case:
    """Right is exit status 2, no traceback, and a text with these names."""
    text = done.stderr + done.stdout
    right = done.returncode == 2 and "Traceback" not in text and all(n in text for n in names)
    return Case(what, "an error that names " + " and ".join(names), told(done), right)


@line("two specs cannot have one class name")
def one_name() -> Iterator[lines.Case]:
    """Nor the name of something that the package exports."""
    for first, second in (("my_opt", "myOpt"), ("adam_w", "AdamW")):
        with folder(**{first: named(first), second: named(second)}) as path:
            done = run("build", "--out", "made", cwd=path)
            yield refused(f"{first} and {second}", done, f"{first}.toml", f"{second}.toml")
            files = list((path / "made").rglob("*.py"))
            text = f"{len(files)} files"
            yield Case("what was written", "nothing", text, not files)
    with folder(optimizer=named("optimizer")) as path:
        done = run("build", "--out", "made", cwd=path)
        yield refused("a spec that is called optimizer", done, "optimizer.toml")


@line("what is built is a real package")
def package() -> Iterator[lines.Case]:
    """For setuptools, hatch, pytest; and it hides nobody's packages."""
    with folder() as path:
        run("build", "lion", "--out", "made", cwd=path)
        folders = [path / "made", *(p for p in (path / "made").rglob("*") if p.is_dir())]
        folders = [p for p in folders if p.name != "__pycache__"]
        lacking = [p.name for p in folders if not (p / "__init__.py").exists()]
        text = f"missing in {', '.join(lacking)}" if lacking else "in every folder"
        yield Case("__init__.py", "in every folder of a package", text, not lacking)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--doctest-modules", "made"],
            cwd=path, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        yield Case("pytest --doctest-modules", "no error", told(done), done.returncode in (0, 5))
    with folder() as path:
        done = run("build", "lion", "--out", ".", cwd=path)
        look = [sys.executable, "-c", "import torch; print(torch.__version__)"]
        found = subprocess.run(
            look, cwd=path, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False
        )
        right = found.returncode == 0 or done.returncode == 2 or "warning" in done.stderr.lower()
        yield Case("--out . where scripts run", "refuse it, or warn", told(done), right)
    with folder() as path:
        run("build", "lion", "--out", "made", cwd=path)
        done = run("check", "lion", cwd=path / "made")
        yield Case("our command inside of it", "works", told(done), done.returncode == 0)


@line("the folder knows what it holds")
def manifest() -> Iterator[lines.Case]:
    """`stepforge.json`: commands without names work on that."""
    with folder(mine=named("mine")) as path:
        run("build", "mine", "lion", "--out", "made", cwd=path)
        file = path / "made" / "stepforge.json"
        held = json.loads(file.read_text("utf-8")) if file.exists() else {}
        right = "stepforge" in held and "lion" in json.dumps(held) and "mine" in json.dumps(held)
        yield Case("stepforge.json", "specs, backends, hashes, version", str(held), right)
        done = run("build", "--check", "--out", "made", cwd=path)
        yield Case("build --check without names", "exit status 0", told(done), not done.returncode)
    with folder() as path:
        done = run("build", "lion", "--out", "made", "--backend", "numpy,triton", cwd=path)
        made = sorted(p.name for p in (path / "made").glob("*") if p.is_dir())
        right = done.returncode == 0 and "torch" not in made and {"numpy", "triton"} <= set(made)
        yield Case("--backend numpy,triton", "numpy, triton", ", ".join(made) or told(done), right)


@line("a formatter changes nothing")
def formatter() -> Iterator[lines.Case]:
    """And the files say that they are generated, in the word that tools know."""
    with folder() as path:
        run("build", "--out", "made", cwd=path)
        ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        before = {p: p.read_bytes() for p in (path / "made").rglob("*.py")}
        if ruff:
            subprocess.run([ruff, "format", "-q", "--isolated", "made"], cwd=path, check=False)
        changed = sorted(p.name for p, text in before.items() if p.read_bytes() != text)
        text = f"{len(changed)} of {len(before)} files changed" if ruff else "ruff is not here"
        yield Case("ruff format", "no file changes", text, bool(ruff) and not changed)
        marked = [p for p in before if b"@generated" in p.read_bytes() or not p.stat().st_size]
        text = f"in {len(marked)} of {len(before)} files"
        yield Case("@generated", "in every file", text, len(marked) == len(before))


@line("builds side by side lose nothing, and a closed pipe is no failure")
def side_by_side() -> Iterator[lines.Case]:
    """Shared files have the entries of all; the exit status is the command's own."""
    with folder() as path:
        names = ("lion", "sgd", "adam", "adamw")
        started = [
            subprocess.Popen(
                [*COMMAND, "build", name, "--out", "made"], cwd=path, env=ENVIRONMENT,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for name in names
        ]  # fmt: skip
        ended = [process.wait() for process in started]
        shared = path / "made" / "torch" / "__init__.py"
        text = shared.read_text("utf-8") if shared.exists() else ""
        there = [name for name in names if f"from .{name} import" in text]
        yield Case("four at once", "4 classes", f"{there}, {ended}", len(there) == len(names))
    with folder() as path:
        shell = f"{' '.join(COMMAND)} build --check --out made | head -1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", shell], cwd=path, env=ENVIRONMENT, capture_output=True,
            encoding="utf-8", check=False,
        )  # fmt: skip
        right = done.returncode == 1 and "Broken" not in done.stderr + done.stdout
        yield Case("build --check | head -1, out of date", "exit status 1", told(done), right)


@line("tables fit a terminal of 80 columns, and pipes cut nothing")
def tables() -> Iterator[lines.Case]:
    """Names and verdicts stay whole."""
    with folder() as path:
        run("build", "lion", "adamw", "--out", "generated", cwd=path)
        text = in_terminal("verify", "adamw", "lion", "--level", "fast", cwd=path, columns=80)
        last = text.rstrip().split("\n")[-40:]
        words = ("adamw", "lion", "PROVED (bits)", "TESTED")
        right = all(word in "\n".join(last) for word in words)
        right = right and "…" not in "".join(last) and max(map(len, last)) <= 80
        shown = " ".join(" ".join(last).split())
        yield Case("verify adamw lion", "every name and verdict whole", shown, right)
        says = [one for one in text.split("\n") if "full" in one]
        shown = " ".join(" ".join(says).split()) or "nothing"
        yield Case("verify --level fast", "what it left out, in a line", shown, len(says) == 1)
        done = run("verify", "--help", cwd=path)
        shown = " ".join(part.strip("│ ") for part in done.stdout.split("\n"))
        yield Case("verify without a level", "fast", shown[:300], "level is fast" in shown)
        text = in_terminal("list", cwd=path, columns=80)
        names = [p.stem for p in (ROOT / "specs").glob("*.toml")]
        cut = [name for name in names if name not in text]
        yield Case(
            "list at 80 columns", "every name", f"missing: {cut}", not cut and "…" not in text
        )
        piped = run("list", cwd=path, COLUMNS="30").stdout
        cut = [name for name in names if name not in piped]
        yield Case(
            "list | cat, COLUMNS=30", "every name", f"missing: {cut}", "…" not in piped and not cut
        )


def rule(text: str, more: str = "") -> str:
    """A small spec around a rule."""
    return (
        'name = "mine"\ntitle = "Mine"\nsummary = "S."\nreference = "R"\n[hyperparameters]\n'
        f'lr = {{ default = 0.1, domain = "lr >= 0", doc = "L." }}\n{more}'
        '[state]\nm = { init = 0, doc = "M." }\n'
        f"[rule]\nupdate = '''\n{text}\n'''\n"
    )


@line("what a rule cannot say is answered with what to write")
def messages() -> Iterator[lines.Case]:
    """An error with help, at the place, and no traceback."""
    for text in (
        "p = p - lr*g/norm(g)", "p = p - lr*mean(g)", "p = p - lr*(g @ g)", "p = p - lr*(g // 2)",
        r"p = p - \frac{lr}{2}*g", "p = p - lr*pi*g", "p = p - lr*|g|", "p = p - lr*m_{t-1}",
        "p := p - lr*g", "p = p - lr*g*(lr == True)", "theta = theta - lr*g",
        "p = p - lr*(g + weight_decay*p)",
    ):  # fmt: skip
        with folder(mine=rule(f"m = g\n{text}")) as path:
            done = run("check", "mine", cwd=path)
            good = done.returncode == 2 and "help:" in done.stderr
            if "//" in text:
                good = good and "did you mean `/`" not in done.stderr
            right = good and "Traceback" not in done.stderr
            yield Case(text, "an error with help", told(done), right)
    unused = 'beta = { default = 0.9, doc = "B." }\n'
    for command in ("check", "build"):
        with folder(mine=rule("m = g\np = p - lr*m", unused)) as path:
            done = run(command, "mine", cwd=path)
            right = done.returncode == 0 and "beta" in done.stderr and "warning" in done.stderr
            yield Case(f"{command}: a hyperparameter unused", "a warning", told(done), right)
    for target in ("h100", "a100", "b200", "4090"):
        done = run("show", "sgd", "--as", "ptx", "--target", target, cwd=ROOT)
        text = f"exit status {done.returncode}: {done.stderr or done.stdout[:200]}"
        yield Case(f"--target {target}", "PTX for it", text, ".target sm_" in done.stdout)


@line("an author may use any name that Python and the rule leave free")
def author_names() -> Iterator[lines.Case]:
    """What is generated gives its own helpers other names."""
    for name in ("n", "mask", "row", "warmup", "group", "state", "step", "input", "vars", "block"):
        text = rule(
            f"m = {name}*m + g\np = p - lr*m", f'{name} = {{ default = 0.5, doc = "N." }}\n'
        )
        with folder(mine=text) as path:
            done = run("build", "mine", cwd=path)
            code = (
                "import torch, generated.torch as o\n"
                f"p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
                f"x = o.Mine([p], lr=0.5, {name}=0.25); x.step(); x.step()\n"
                "assert torch.equal(p, torch.full((3,), 1 - 0.5 - 0.5*1.25)), p"
            )
            used = subprocess.run(
                [sys.executable, "-c", code], cwd=path, env=ENVIRONMENT, capture_output=True,
                encoding="utf-8", check=False,
            )  # fmt: skip
            right = done.returncode == 0 and used.returncode == 0
            yield Case(
                name, "allowed, and it trains", told(done if done.returncode else used), right
            )


@line("a class that torch does not have has its arguments")
def own_class() -> Iterator[lines.Case]:
    """`class = "AdaBelief"` in a spec, and schedulers that change its betas."""
    text = named("ada_belief", LION) + (
        '\n[torch]\nclass = "AdaBelief"\narguments = { betas = ["beta1", "beta2"] }\n'
    )
    code = (
        "import torch, generated.torch as o\n"
        "p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)\n"
        "x = o.AdaBelief([p], lr=0.5, betas=(0.8, 0.9), foreach=True)\n"
        "s = torch.optim.lr_scheduler.OneCycleLR(x, 0.5, total_steps=5)\n"
        "x.step(); s.step(); print(x.param_groups[0]['betas'])"
    )
    with folder(ada_belief=text) as path:
        done = run("build", "ada_belief", cwd=path)
        used = subprocess.run(
            [sys.executable, "-c", code], cwd=path, env=ENVIRONMENT, capture_output=True,
            encoding="utf-8", check=False,
        )  # fmt: skip
        right = done.returncode == 0 and used.returncode == 0
        yield Case("AdaBelief", "betas that are scheduled", told(used if right else done), right)


@line("every command answers in JSON, errors included")
def machines() -> Iterator[lines.Case]:
    """One shape, on stdout."""
    for words in (("list",), ("check", "lion"), ("build", "--check"), ("explain", "E104")):
        done = run(*words, "--json", cwd=ROOT)
        with contextlib.suppress(ValueError):
            json.loads(done.stdout)
            yield Case(" ".join(words), "JSON", done.stdout[:120], done.returncode == 0)
            continue
        yield Case(" ".join(words), "JSON", told(done), False)
    with folder(mine=rule("p = p - rl*g")) as path:
        for command in ("check", "build", "show", "verify"):
            done = run(command, "mine", "--json", cwd=path)
            with contextlib.suppress(ValueError):
                found = json.loads(done.stdout)
                right = "E104" in json.dumps(found) and done.returncode == 2
                yield Case(f"{command}, an error", "JSON with E104", done.stdout[:200], right)
                continue
            yield Case(f"{command}, an error", "JSON with E104", told(done), False)


@line("explain, new and show know what a newcomer asks")
def newcomers() -> Iterator[lines.Case]:
    """Rungs and verdicts; stock names are kept; a spec can be printed."""
    for words in (("explain",), ("explain", "R7"), ("explain", "PROVED")):
        done = run(*words, cwd=ROOT)
        yield Case(" ".join(words), "an explanation", told(done), done.returncode == 0)
    with folder() as path:
        yield refused("new adamw", run("new", "adamw", cwd=path), "--force")
        run("new", "mine", "--from", "lion", cwd=path)
        made = path / "specs" / "mine.toml"
        text = made.read_text("utf-8") if made.exists() else ""
        right = bool(text) and '"Lion"' not in text and "Chen et al." not in text
        shown = " ".join(text.split())[:160]
        yield Case("new mine --from lion", "its own title and reference", shown, right)
    done = run("show", "lion", "--as", "spec", cwd=ROOT)
    yield Case("show lion --as spec", "the file", told(done), done.stdout == LION)
    done = run("show", "lion", "--as", "text", cwd=ROOT)
    words = ("maximize", "beta1 < 1", "Momentum", "lr >= 0")
    right = all(word in done.stdout for word in words)
    yield Case("show lion --as text", "states, domains, options", told(done), right)
    done = run("build", "--help", cwd=ROOT)
    right = "stepforge build" in done.stdout.partition("Examples:")[2]
    yield Case("build --help", "has an example", told(done), right)


@line("a configuration file is found upwards")
def configuration() -> Iterator[lines.Case]:
    """Folders of specs and of output."""
    for file, table in (("stepforge.toml", ""), ("pyproject.toml", "[tool.stepforge]\n")):
        with folder(mine=named("mine")) as path:
            (path / "specs").rename(path / "rules")
            (path / file).write_text(f'{table}specs = "rules"\nout = "made"\n', "utf-8")
            (path / "deep").mkdir()
            done = run("build", "mine", cwd=path / "deep")
            made = (path / "made" / "numpy" / "mine.py").exists()
            yield Case(file, "used", told(done), done.returncode == 0 and made)


@line("an interrupted command leaves nothing behind")
def interrupted() -> Iterator[lines.Case]:
    """No worker after 2 seconds, no temporary folder."""
    for name, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        with folder() as path:
            run("build", "lion", "--out", "generated", cwd=path)
            scratch = path / "scratch"
            scratch.mkdir()
            process = subprocess.Popen(
                [*COMMAND, "verify", "lion", "--level", "full"], cwd=path, start_new_session=True,
                env={**ENVIRONMENT, "TMPDIR": str(scratch)},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(6)
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal does
            else:
                process.send_signal(number)
            ended = time.monotonic()
            while _alive(process) and time.monotonic() < ended + 2:
                time.sleep(0.05)
            left = _alive(process)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            files = sorted(p.name for p in scratch.iterdir())
            text = f"{len(left)} processes, {len(files)} temporary files or folders {files[:3]}"
            yield Case(name, "0 processes, 0 folders", text, not left and not files)


def _alive(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes of its session that still run."""
    process.poll()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == process.pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found
