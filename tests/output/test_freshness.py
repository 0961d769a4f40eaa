"""The committed files are what the specs make, on every machine and in every process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from catalogue import FEW
from support import EVERY, ROOT, Command, environment, run_command, stock

from stepforge.backends.registry import BACKENDS
from stepforge.output import emit


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    }


def test_generated_files_are_up_to_date(command: Command) -> None:
    done = command("build", "--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    assert done.stderr.endswith(f"{len(EVERY)} specs: everything is up to date\n")


def test_the_set_of_generated_files_is_exactly_the_expected_one(tmp_path: Path) -> None:
    expected = emit.expected([*map(stock, EVERY)], tmp_path)
    names = {str(path.relative_to(tmp_path)): text.encode() for path, text in expected.items()}
    assert tree(ROOT / "generated") == names


def test_two_processes_with_other_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "4242"):
        env = {"PYTHONHASHSEED": seed}
        done = run_command("build", *FEW, "--out", tmp_path / seed, env=env)
        assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "1") == tree(tmp_path / "4242")
    committed = tree(ROOT / "generated")
    files = {name: data for name, data in tree(tmp_path / "1").items() if Path(name).stem in FEW}
    assert len(files) == len(FEW) * len(BACKENDS)
    assert files.items() <= committed.items()


def test_views_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from stepforge.commands.views import show; "
        "from stepforge.project.catalogue import locate; "
        "from stepforge.project.loading import load; "
        "spec = load(locate('nadam').path)[0]; "
        "print(*(show(spec, view) for view in ('latex', 'mathml', 'kernel')))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env=environment({"PYTHONHASHSEED": seed}), cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "4242")
    }  # fmt: skip
    assert len(texts) == 1
    assert "<math" in texts.pop()


def test_an_edited_file_is_out_of_date(command: Command, tmp_path: Path) -> None:
    command("build", "lion", "--out", tmp_path)
    path = tmp_path / "triton" / "lion.py"
    path.write_text(path.read_text().replace("BLOCK = 2048", "BLOCK = 512"))
    done = command("build", "lion", "--out", tmp_path, "--check")
    assert done.returncode == 1
    assert "-BLOCK = 512\n+BLOCK = 2048\n" in done.stdout
    assert done.stderr == "1 spec: 1 file out of date\n"
    assert "BLOCK = 512" in path.read_text()


def test_a_missing_and_an_orphaned_file_are_out_of_date(command: Command, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    for name in ("lion", "sgd"):
        shutil.copy(ROOT / "specs" / f"{name}.toml", tmp_path / "specs")
    command("build", cwd=tmp_path)
    folder = tmp_path / "generated" / "numpy"
    (folder / "lion.py").rename(folder / "tiger.py")
    done = command("build", "--check", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert [(c["action"], Path(c["path"]).name) for c in json.loads(done.stdout)["results"]] == [
        ("write", "lion.py"),
        ("remove", "tiger.py"),
    ]


def test_a_changed_spec_makes_its_files_out_of_date(command: Command, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    text = (ROOT / "specs" / "lion.toml").read_text()
    spec = tmp_path / "specs" / "lion.toml"
    spec.write_text(text)
    assert command("build", cwd=tmp_path).returncode == 0
    assert command("build", "--check", cwd=tmp_path).returncode == 0
    spec.write_text(text.replace("u + weight_decay*p", "weight_decay*p + u"))
    done = command("build", "--check", cwd=tmp_path)
    assert done.returncode == 1
    assert "+        u = weight_decay * p + u" in done.stdout
