"""The committed files are what the specs make, on every machine and in every process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT, STOCK, run_command, stock

from stepforge.output import emit


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    }


def test_generated_files_are_up_to_date() -> None:
    done = run_command("build", "--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    assert done.stderr.endswith(f"{len(STOCK)} specs: everything is up to date\n")


def test_the_set_of_generated_files_is_exactly_the_expected_one(tmp_path: Path) -> None:
    expected = emit.expected([*map(stock, STOCK)], tmp_path)
    names = {str(path.relative_to(tmp_path)): text.encode() for path, text in expected.items()}
    assert tree(ROOT / "generated") == names


def test_two_processes_with_other_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "4242"):
        done = run_command("build", "--out", tmp_path / seed, env={"PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "1") == tree(tmp_path / "4242") == tree(ROOT / "generated")


@pytest.mark.parametrize("view", ["latex", "mathml", "kernel"])
def test_views_do_not_depend_on_the_hash_seed(view: str) -> None:
    texts = {
        run_command("show", "nadam", "--as", view, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "4242")
    }
    assert len(texts) == 1
    assert texts != {""}


def test_an_edited_file_is_out_of_date(tmp_path: Path) -> None:
    run_command("build", "lion", "--out", tmp_path)
    path = tmp_path / "triton" / "lion.py"
    path.write_text(path.read_text().replace("BLOCK = 2048", "BLOCK = 512"))
    done = run_command("build", "lion", "--out", tmp_path, "--check")
    assert done.returncode == 1
    assert "-BLOCK = 512\n+BLOCK = 2048\n" in done.stdout
    assert done.stderr == "1 spec: 1 file out of date\n"
    assert "BLOCK = 512" in path.read_text()


def test_a_missing_and_an_orphaned_file_are_out_of_date(tmp_path: Path) -> None:
    run_command("build", "--out", tmp_path)
    (tmp_path / "numpy" / "lion.py").rename(tmp_path / "numpy" / "tiger.py")
    done = run_command("build", "--out", tmp_path, "--check", "--json")
    assert done.returncode == 1
    assert [(c["action"], Path(c["path"]).name) for c in json.loads(done.stdout)["results"]] == [
        ("write", "lion.py"),
        ("remove", "tiger.py"),
    ]


def test_a_changed_spec_makes_its_files_out_of_date(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    text = (ROOT / "specs" / "lion.toml").read_text()
    spec = tmp_path / "specs" / "lion.toml"
    spec.write_text(text)
    assert run_command("build", cwd=tmp_path).returncode == 0
    assert run_command("build", "--check", cwd=tmp_path).returncode == 0
    spec.write_text(text.replace("u + weight_decay*p", "weight_decay*p + u"))
    done = run_command("build", "--check", cwd=tmp_path)
    assert done.returncode == 1
    assert "+        u = weight_decay * p + u" in done.stdout
