"""What GPUs are called: `H100`, `RTX 4090` or `sm90` are targets of Triton by another name."""

from __future__ import annotations

import re

from stepforge.language.diagnostics import Diagnostic, SpecError, nearest

NAMES: dict[str, str] = {
    **dict.fromkeys(("v100", "titanv"), "sm_70"),
    **dict.fromkeys(
        ("t4", "t4g", "titanrtx", "1650", "1660", "1660ti", "2060", "2070", "2080", "2080ti",
         "rtx4000", "rtx5000", "rtx6000", "rtx8000"), "sm_75"),
    **dict.fromkeys(("a100", "a800", "a30"), "sm_80"),
    **dict.fromkeys(
        ("a2", "a10", "a10g", "a16", "a40", "a2000", "a4000", "a4500", "a5000", "a5500", "a6000",
         "3050", "3060", "3060ti", "3070", "3070ti", "3080", "3080ti", "3090", "3090ti"), "sm_86"),
    **dict.fromkeys(("orin", "jetsonorin", "agxorin", "jetsonagxorin"), "sm_87"),
    **dict.fromkeys(
        ("l4", "l20", "l40", "l40s", "2000ada", "4000ada", "4500ada", "5000ada", "6000ada", "4060",
         "4060ti", "4070", "4070ti", "4080", "4090", "4090d"), "sm_89"),
    **dict.fromkeys(("h100", "h200", "h20", "h800", "gh200"), "sm_90"),
    **dict.fromkeys(("b100", "b200", "gb200"), "sm_100"),
    **dict.fromkeys(("b300", "gb300"), "sm_103"),
    **dict.fromkeys(
        ("5050", "5060", "5060ti", "5070", "5070ti", "5080", "5090", "5090d", "pro6000"),
        "sm_120"),
    **dict.fromkeys(("gb10", "dgxspark"), "sm_121"),
    **dict.fromkeys(("mi210", "mi250", "mi250x"), "gfx90a"),
    **dict.fromkeys(("mi300", "mi300a", "mi300x", "mi325x"), "gfx942"),
    **dict.fromkeys(("mi350x", "mi355x"), "gfx950"),
}  # fmt: skip
"""Names that are sold, in lower case and without the maker, and their architecture."""
_FILLERS = re.compile(r"nvidia|geforce|quadro|tesla|amd|instinct|blackwell|super|sxm\d?|pcie|nvl")
_ARCHITECTURE = re.compile(r"(?:sm|compute)?(\d{2,3})[af]?|(gfx\w+)")


def architecture(name: str) -> str:
    """The architecture of a GPU by any of its names; "" if there is no such name."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    plain = _FILLERS.sub("", plain)
    for candidate in (plain, plain.removeprefix("rtx"), plain.removeprefix("gtx")):
        if candidate in NAMES:
            return NAMES[candidate]
    found = _ARCHITECTURE.fullmatch(plain)
    if found is None:
        return ""
    return found[2] or f"sm_{found[1]}"


def target(name: str, command: str) -> str:
    """The target that a user means.

    Args:
        name: What stands on the command line: an architecture, or what a GPU is sold as.
        command: The command, for the message.

    Raises:
        SpecError: There is no such GPU, or nothing is compiled for it.
    """
    from stepforge.verify.rungs.levels import ARCHITECTURES

    found = architecture(name)
    if found in ARCHITECTURES:
        return found
    all_of_them = ", ".join(ARCHITECTURES)
    if found and found in NAMES.values():
        message = f"there is no target `{found}`"
        message += "" if found == name else f", which `{name}` is"
        raise SpecError([Diagnostic("E006", message, command, help=f"there are {all_of_them}")])
    help = nearest(name, [*ARCHITECTURES, *NAMES])
    help = help or f"there are {all_of_them}, and names such as h100"
    raise SpecError([Diagnostic("E006", f"no target named `{name}`", command, help=help)])


def targets(given: list[str] | None, command: str) -> list[str] | None:
    """The targets of a repeated option, whose values may also hold several with commas; each once.

    Raises:
        SpecError: See `target`.
    """
    names = [name for one in given or () for name in one.split(",") if name.strip()]
    return list(dict.fromkeys(target(name.strip(), command) for name in names)) or None
