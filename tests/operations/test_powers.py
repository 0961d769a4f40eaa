"""Powers: those of ordinary size are mpmath's, all others end at once."""

from __future__ import annotations

import mpmath
import pytest

from stepforge.operations.powers import power

mp = mpmath.MPContext()
mp.dps = 50
HUGE = mp.mpf(8) ** (10**6)


@pytest.mark.parametrize("base", ["0", "0.5", "3", "-3", "1e-200"])
@pytest.mark.parametrize("exponent", ["2", "-3", "0.5", "2.5"])
def test_ordinary_powers_are_exact(base: str, exponent: str) -> None:
    x, y = mp.mpf(base), mp.mpf(exponent)
    if x == 0 and y < 0:
        with pytest.raises(ZeroDivisionError):
            power(mp, x, y)
    else:
        assert power(mp, x, y) == mp.power(x, y)


def test_towers_of_exponents_end_at_once() -> None:
    assert power(mp, mp.mpf("8.001"), HUGE) == mp.inf
    assert power(mp, mp.mpf("-8.001"), HUGE) == mp.inf
    assert power(mp, mp.mpf("-8.001"), mp.mpf(10**9 + 1)) == -mp.inf
    assert 0 < power(mp, mp.mpf("8.001"), -HUGE) < mp.mpf("1e-400")
    assert 0 < power(mp, mp.mpf("0.5"), HUGE) < mp.mpf("1e-400")
    assert power(mp, mp.mpf(1), HUGE) == 1
