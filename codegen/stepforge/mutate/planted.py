"""What a stepforge with a fault in it builds of one spec, and what its own rungs say of that.

This runs as a program of its own, in a copy of the package that has the fault: it generates and it
judges, so what both have in common is wrong in both. Each line that it prints is a number of a rung
and a verdict, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SPEC = '''
name = "dense"
title = "Dense"
summary = "A rule that uses everything that the language has, and is no optimizer."
reference = "None"

[hyperparameters]
lr    = { default = 0.125, domain = "0 < lr <= 1", usual = "0.01 < lr < 1", doc = "H." }
beta  = { default = 0.75, domain = "0.1 <= beta and beta < 0.9", doc = "H." }
bound = { default = 2, domain = "1 <= bound <= 3", doc = "H." }
decay = { default = -0.5, domain = "-1 <= decay < 1", doc = "H." }

[options]
first  = { default = true, doc = "O." }
second = { default = false, when = "first", doc = "O." }

[state]
m    = { init = 0, domain = "-8 <= m <= 8", doc = "S." }
v    = { init = "bound/4 + 1", domain = "v >= 1", doc = "S." }
w    = { init = -1, domain = "-4 <= w <= 4", when = "second", doc = "S." }
k    = { init = "2*beta", scalar = true, domain = "0.1 <= k <= 4", doc = "S." }

[rule]
update = """
if first and not second:
    g = -g
u = clip(g, -bound, 3)
if decay != 0:
    u = u + decay*p
elif t > 2 or beta >= 0.5:
    u = u*beta
else:
    u = u - 1/t
k = clip(k*beta + t % 3/(2*t), 0.1, 4)
r = 1 - beta**t
a = max(abs(u), 0.5, exp(-lr))
b = a**2 + a**-3/4 - (a + 1)**0.5 + a**-0.5 + a**0.25 + a**1.5 + a**beta
v = max(v, min(b, 50), 1)
m = (1 - beta)*u + beta*m if u*m <= 4 and not u > 5 else 0
m = clip(stored(m), -8, 8)
if not first:
    s = cos(a) + cbrt(u)
elif second:
    s = atan2(u, a) + sin(m)
else:
    s = sign(m) + tanh(u) + expm1(-a) + floor(2*u)
d = log(v) + exp(-a) + sqrt(v)/k
if second:
    w = w/2 if w < 1 or w == 2 else u
    w = clip(w, -4, 4)
    d = d + w**2
q = pi*lr if t >= 2 else max(lr, sqrt(beta), min(beta, decay, 1))
n = (s if second or not first else m*s) + (0.25 if u != 0 else 1)*2**0.5
p = p - q/r*n/(d + 1e-3) - lr**(2 - 1)*sign(decay)*abs(decay)*2.5e-1 + floor(bound/2)*0
"""
'''
"""A rule with all operations, states, blocks, powers and choices: no part of what generates files
could be wrong without a change of one of them."""


def main(folder: Path, rungs: list[str]) -> None:
    """Builds the files of `SPEC` where there are none, or asks rungs until one refutes."""
    from stepforge.language.reader import loads

    spec = loads(SPEC, "dense.toml")[0]
    if not rungs:
        from stepforge.backends.registry import verified
        from stepforge.backends.render import copied, render
        from stepforge.lowering.lower import lower
        from stepforge.verify.files.generated import C

        kernel = lower(spec)
        for backend in filter(lambda backend: backend.name not in C, verified()):
            path = folder / backend.file(spec.name)
            path.parent.mkdir()
            path.write_text(render(kernel, backend.name), encoding="utf-8")
            for file in backend.copied:
                path.with_name(file).write_text(copied(f"{backend.name}/{file}"), encoding="utf-8")
        return
    from stepforge.mutate.mutant import TARGET, shown
    from stepforge.verify.certificate import Status
    from stepforge.verify.run import tasks
    from stepforge.verify.rungs.registry import OF_COPIES, RUNGS
    from stepforge.verify.rungs.task import Task

    # The quick rungs look at all option sets, the others at the one with most options.
    sets = list(spec.option_sets())
    most = max(sets, key=lambda options: sum(options.values()))
    for number in rungs:
        rung = RUNGS[number]
        for options in sets if number in OF_COPIES[0] else [most]:
            task = Task(rung, spec, options, folder, 0, (TARGET,), ("fp32",), brief=True)
            try:
                verdict = tasks.run(task)
                said = shown(verdict)
            except Exception as error:
                said = f"{Status.UNSUPPORTED}: {type(error).__name__}: {error}"
            print(json.dumps([number, said]), flush=True)
            if said.startswith(Status.REFUTED):
                return


def executed(action: list[str]) -> None:
    """Prints the lines of the package that building runs, by file."""
    package = str(Path(__file__).parents[1])
    found: dict[str, set[int]] = {}

    def trace(frame, event, _):  # type: ignore[no-untyped-def]
        name = frame.f_code.co_filename
        if not name.startswith(package):
            return None
        found.setdefault(name[len(package) + 1 :], set()).add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    main(Path(action[0]), [])
    sys.settrace(None)
    print(json.dumps({name: sorted(lines) for name, lines in sorted(found.items())}))


if __name__ == "__main__":
    if sys.argv[1] == "--lines":
        executed(sys.argv[2:])
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
