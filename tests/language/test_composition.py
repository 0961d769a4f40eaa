"""Dialects and pipelines: the plain specs that they stand for, and where what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support import DIALECTS, ROOT, TRANSFORMS, Command, numpy_of, stock

from stepforge.language.diagnostics import SpecError
from stepforge.language.spec import Spec
from stepforge.language.subjects import TRANSFORM
from stepforge.project.loading import load, loads

HEAD = 'name = "{}"\ntitle = "Example"\nsummary = "A pipeline."\nreference = "None"\n'


def pipeline(*pieces: str, rest: str = "") -> Spec:
    names = ", ".join(f'"{piece}"' for piece in pieces)
    return loads(f"{HEAD.format('made')}use = [{names}]\n{rest}")[0]


def walk(spec: Spec, steps: int = 12, **numbers: Any) -> list[np.ndarray]:
    """The parameters after every step on gradients that are the same for every spec."""
    made, rng = numpy_of(spec), np.random.default_rng(5)
    p = rng.standard_normal(8)
    state, found = made.init(p), []
    for t in range(1, steps + 1):
        p, state = made.step(p, rng.standard_normal(8) * 2, state, t, **numbers)
        found.append(p)
    return found


def test_a_dialect_is_its_base_with_what_differs() -> None:
    spec = stock("adam_keras")
    base = stock("adam")
    assert [h.name for h in spec.hyperparameters] == [h.name for h in base.hyperparameters]
    assert (spec.hyperparameters[3].default, base.hyperparameters[3].default) == (1e-7, 1e-8)
    assert spec.hyperparameters[3].domain == base.hyperparameters[3].domain
    assert spec.options == base.options
    assert spec.family == base.family
    *kept, root, last = spec.source.data["rule"]["update"].strip().splitlines()
    assert [line for line in kept if "v_hat" in line] == []
    assert root == "d = sqrt(v_max if amsgrad else v) + eps"
    assert last == "p = p - lr*sqrt(1 - beta2**t)/(1 - beta1**t) * m/d"
    assert spec.torch is None


def test_a_dialect_leaves_out_what_nothing_speaks_of_any_more() -> None:
    spec = stock("radam_optax")
    assert [o.name for o in spec.options] == []
    assert [h.name for h in spec.hyperparameters] == ["lr", "beta1", "beta2", "eps"]


def test_a_dialect_of_a_dialect() -> None:
    spec = stock("adagrad_optax")
    assert spec.hyperparameters[2].default == 0.1
    assert "if s > 0 else 0" in spec.source.text
    assert "optax" in spec.summary


def test_every_dialect_is_called_like_its_file() -> None:
    for name, path in DIALECTS.items():
        assert path.stem.count("@") == 1
        assert path.stem.replace("@", "_") == name
        assert stock(name).name == name


def test_what_stands_in_a_plain_spec_means_what_it_says_there() -> None:
    """The text that a dialect stands for is a spec by itself, with the same code."""
    for name in ("adam_keras", "rprop_optax", "clipped_adamw"):
        spec = stock(name)
        assert loads(spec.source.text)[0] == spec


def test_a_pipeline_is_what_its_pieces_do_one_after_the_other() -> None:
    """The parameters and their average are those of clipping, AdamW and averaging by hand."""
    spec, adamw = stock("clipped_adamw"), numpy_of(stock("adamw"))
    made, rng = numpy_of(spec), np.random.default_rng(9)
    p = q = average = rng.standard_normal(8)
    state, other = made.init(p), adamw.init(q)
    for t in range(1, 20):
        g = rng.standard_normal(8) * 3
        p, state = made.step(p, g, state, t, clip_value=1.5, decay=0.75)
        q, other = adamw.step(q, np.clip(g, -1.5, 1.5), other, t)
        average = 0.75 * average + (1 - 0.75) * q
        np.testing.assert_array_equal(p, q)
        np.testing.assert_array_equal(state["ema"], average)


def test_schedule_free_averaging_around_sgd_is_schedule_free_sgd() -> None:
    around = pipeline("sgd", "schedule_free")
    steps = zip(walk(around, lr=0.1), walk(stock("schedule_free_sgd"), lr=0.1), strict=True)
    for one, other in steps:
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


def test_lookahead_goes_back_every_k_steps() -> None:
    made = pipeline("sgd", "lookahead", rest="[hyperparameters]\nk = { default = 3 }\n")
    rng = np.random.default_rng(5)
    fast = slow = rng.standard_normal(8)
    for t, p in enumerate(walk(made, lr=0.1), 1):
        fast = fast - 0.1 * (rng.standard_normal(8) * 2)
        if t % 3 == 0:
            fast = slow = slow + 0.5 * (fast - slow)
        np.testing.assert_allclose(p, fast, rtol=1e-14)


def test_a_cautious_step_never_goes_along_the_gradient() -> None:
    made, plain = (numpy_of(s) for s in (pipeline("lion", "cautious"), stock("lion")))
    rng, stayed = np.random.default_rng(1), 0
    p = rng.standard_normal(64)
    state = made.init(p)
    for t in range(1, 10):
        g = rng.standard_normal(64)
        free = plain.step(p, g, {"m": state["m"]}, t, weight_decay=0)[0]
        new, state = made.step(p, g, state, t, weight_decay=0)
        along = (free - p) * g >= 0
        np.testing.assert_array_equal(new, np.where(along, p, free))
        stayed += int(along.sum())
        p = new
    assert stayed > 10


def test_decays_and_penalties_are_those_of_the_optimizers_that_have_them() -> None:
    lr, decay = 0.05, 0.1
    found = walk(pipeline("decoupled_decay", "adam"), lr=lr, decoupled_decay_weight_decay=decay)
    for one, other in zip(found, walk(stock("adamw"), lr=lr, weight_decay=decay), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    found = walk(pipeline("l2", "sgd"), lr=lr, l2=decay)
    for one, other in zip(found, walk(stock("sgd"), lr=lr, weight_decay=decay), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    found = walk(pipeline("ascend", "adamw"), lr=lr)
    for one, other in zip(found, walk(stock("adamw"), lr=lr, maximize=True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_two_forms_of_an_l1_penalty() -> None:
    """Where nothing crosses zero they differ by the order of the step alone; the proximal stops."""
    proximal = walk(pipeline("sgd", "soft_threshold"), lr=0.1, l1=0.5)
    assert any((p == 0).any() for p in proximal)
    first, rng = walk(pipeline("l1", "sgd"), lr=0.1, l1=0.5)[0], np.random.default_rng(5)
    p, g = rng.standard_normal(8), rng.standard_normal(8) * 2
    np.testing.assert_allclose(first, p - 0.1 * (g + 0.5 * np.sign(p)), rtol=1e-14)


def test_kahan_summation_keeps_what_bfloat16_loses() -> None:
    """Steps far below the spacing of bfloat16 at 1 add up as they do in float32."""
    made, plain = (numpy_of(s) for s in (pipeline("sgd", "kahan"), stock("sgd")))
    exact, p = np.ones(4, np.float32), np.ones(4, ml_dtypes.bfloat16)
    lossy, state, other = p, made.init(p), plain.init(p)
    for t in range(1, 301):
        p, state = made.step(p, np.ones_like(p), state, t, lr=2e-4)
        lossy, other = plain.step(lossy, np.ones_like(p), other, t, lr=2e-4)
        exact = exact - np.float32(2e-4)
    assert (lossy == 1).all()
    assert state["lost"].dtype == p.dtype
    np.testing.assert_allclose(p.astype(np.float32), exact, atol=2**-8)
    # What is lost is itself kept to 8 bits, so a little of it is lost in every step.
    np.testing.assert_allclose(p.astype(np.float32) + state["lost"], exact, atol=2**-10)


def test_names_that_are_taken_get_the_name_of_their_transform() -> None:
    spec = pipeline("mars", "grokfast", "adan", "lookahead", "cautious", "ema")
    assert [s.name for s in spec.states] == [
        "m", "v", "n", "g_prev", "mars_g_prev", "slow", "lookahead_slow", "ema",
    ]  # fmt: skip
    moved = next(h for h in spec.hyperparameters if h.name == "lookahead_alpha")
    assert moved.domain_text == "0 <= lookahead_alpha <= 1"
    # By other names it is the same pipeline: those that do not collide are as they were.
    texts = [line for line in spec.source.text.splitlines() if "lookahead" in line]
    assert "    lookahead_slow = lookahead_slow + lookahead_alpha*(p - lookahead_slow)" in texts


def test_transforms_behind_the_optimizer_are_wrapped_around_it() -> None:
    """The outer one of two keeps what it was given, before the inner one changes it."""
    spec = pipeline("l2", "signsgd", "cautious", "schedule_free", "ema")
    lines = spec.source.data["rule"]["update"].splitlines()
    assert lines[:3] == ["g = g + l2*p", "p = z", "p_start = p"]
    assert lines[-1] == "ema = decay*ema + (1 - decay)*p"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_is_a_spec_around_plain_descent(name: str) -> None:
    path = ROOT / "specs" / "transforms" / f"{name}.toml"
    spec, warnings = load(path, path.name)
    assert spec.subject == TRANSFORM
    assert warnings == []
    assert "p = p - g\n" in spec.source.text


def test_what_is_wrong_is_said_of_the_file_where_it_stands(tmp_path: Path) -> None:
    piece, whole = tmp_path / "piece.toml", tmp_path / "whole.toml"
    piece.write_text(f'{HEAD.format("piece")}[rule]\nafter = """\nq = p + nothing\np = q\n"""\n')
    whole.write_text(f'{HEAD.format("whole")}use = ["sgd", "{piece}"]\n')
    with pytest.raises(SpecError) as caught:
        load(whole)
    (found,) = caught.value.diagnostics
    assert (found.code, found.path, found.line) == ("E104", str(piece), "q = p + nothing")
    assert found.span is not None
    assert (found.span.line, found.span.column) == (7, 9)


def test_a_warning_cites_the_base_that_it_is_about() -> None:
    warnings = load(DIALECTS["rmsprop_optax"], "x")[1]
    assert {(w.code, w.path) for w in warnings} == {("W201", "specs/dialects/rmsprop@keras.toml")}
    assert warnings[0].line.strip() == "d = sqrt(v - g_avg**2 + eps)"


def test_specs_that_are_made_of_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    for name, path, other in (("one", one, two), ("two", two, one)):
        path.write_text(f'{HEAD.format(name)}base = "{other}"\n')
    with pytest.raises(SpecError) as caught:
        load(one)
    assert [d.code for d in caught.value.diagnostics] == ["E029"]


def test_bases_are_bounded(tmp_path: Path) -> None:
    for number in range(12):
        base = f"{tmp_path}/b{number + 1}.toml" if number < 11 else "adam"
        (tmp_path / f"b{number}.toml").write_text(f'{HEAD.format(f"b{number}")}base = "{base}"\n')
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "b0.toml")
    assert [d.code for d in caught.value.diagnostics] == ["E029"]
    assert load(tmp_path / "b6.toml")[0].name == "b6"


@pytest.fixture
def project(tmp_path: Path, command: Command) -> Path:
    (tmp_path / "specs").mkdir()
    text = f'{HEAD.format("mine")}use = ["clip_by_value", "sgd"]\n'
    (tmp_path / "specs" / "mine.toml").write_text(text)
    return tmp_path


def test_code_comes_from_what_uses_a_transform(command: Command, project: Path) -> None:
    done = command("build", "ema", cwd=project)
    assert done.returncode == 2
    assert "E026" in done.stderr
    assert not (project / "generated").exists()
    assert command("build", cwd=project).returncode == 0
    text = (project / "generated" / "numpy" / "mine.py").read_text()
    assert "g = np.clip(" in text or "clip" in text
    assert command("build", "--check", cwd=project).returncode == 0


def test_a_changed_transform_makes_its_pipelines_stale(command: Command, project: Path) -> None:
    done = command("new", "clip_by_value", "--from", "clip_by_value", "--force", cwd=project)
    assert done.returncode == 0
    own = project / "specs" / "transforms" / "clip_by_value.toml"
    assert own.is_file()
    assert "before = " in own.read_text()
    assert command("build", cwd=project).returncode == 0
    own.write_text(own.read_text().replace("-clip_value, clip_value", "-clip_value, 2*clip_value"))
    done = command("build", "--check", cwd=project)
    assert done.returncode == 1
    assert "mine.py" in done.stdout


def test_a_dialect_is_found_by_both_of_its_names(command: Command) -> None:
    names = ("adam@keras", "adam_keras", "dialects/adam@keras")
    (shown,) = {command("show", name).stdout for name in names}
    assert "Adam (Keras)" in shown
