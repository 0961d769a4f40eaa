"""`stepforge clean`."""

from __future__ import annotations

from stepforge.commands.options import Cache, Json
from stepforge.commands.terminal.output import answer, note
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.project import config

EXAMPLES = (
    "stepforge clean                  # removes .stepforge_cache",
    "stepforge clean --cache DIR      # another folder of kept verdicts",
)


def clean(
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Remove the verdicts that `stepforge verify` has kept, so that it finds all of them anew.

    Nothing else is removed: a folder that does not hold kept verdicts is refused.
    """
    from stepforge.verify.run import cache as verdicts

    folder = cache or config.current().verdicts
    size = 0
    if is_there := folder.exists():
        if not verdicts.is_ours(folder):
            raise SpecError([Diagnostic("E001", verdicts.NOT_OURS, str(folder))])
        try:
            size = verdicts.clean(folder)
        except OSError as error:
            reason = f"cannot remove: {(error.strerror or str(error)).lower()}"
            raise SpecError([Diagnostic("E007", reason, str(folder))]) from None
    if as_json:
        answer("clean", [{"folder": str(folder), "bytes": size}], [], 0)
    elif is_there:
        note(f"removed {folder}: {size / 1e6:.1f} MB")
    else:
        note(f"nothing to remove: {folder} is not there")
