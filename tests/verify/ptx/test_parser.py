"""PTX that the parser does not know."""

from __future__ import annotations

import pytest

from stepforge.verify.ptx.parser import Unsupported, parse
from verify.ptx_kernels import kernel


@pytest.mark.parametrize(
    "line",
    [".reg .b32 tmp;", "{ add.s32 %r1, %r1, 1; }", ".shared .align 4 .b8 s[16];", "?"],
)
def test_unknown_statements_are_unsupported_with_their_line(line: str) -> None:
    with pytest.raises(Unsupported, match="line 10"):
        parse(kernel(line))
