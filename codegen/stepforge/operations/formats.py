"""THE table of number formats, with the three names that each of them has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: of IEEE 754, or bfloat16.

    Attributes:
        kind: Its name in terms, Triton IR and PTX.
        triton: Its name in the types that Triton compiles for, and in commands.
        numpy: Its name in NumPy, ml_dtypes and torch.
        bits: Of a number.
        precision: Digits of the significand, the first one included.
        most: Exponent of the largest number.
    """

    kind: str
    triton: str
    numpy: str
    bits: int
    precision: int
    most: int

    @property
    def bytes(self) -> int:
        """Of a number."""
        return self.bits // 8

    @property
    def unit(self) -> float:
        """Largest relative error of one rounding to nearest."""
        return 2.0**-self.precision

    @property
    def least(self) -> int:
        """Exponent of the least normal number."""
        return 1 - self.most

    @property
    def largest(self) -> float:
        """The largest number."""
        return (2 - 2 * self.unit) * 2.0**self.most

    @property
    def computed(self) -> Format:
        """The format that numbers of this one are computed in, and that most states have."""
        return FORMATS["f32"] if self.bits < 32 else self


FORMATS = {
    found.kind: found
    for found in (
        Format("f32", "fp32", "float32", 32, 24, 127),
        Format("f64", "fp64", "float64", 64, 53, 1023),
        Format("bf16", "bf16", "bfloat16", 16, 8, 127),
        Format("f16", "fp16", "float16", 16, 11, 15),
    )
}
BY_TRITON = {found.triton: found for found in FORMATS.values()}
BY_NUMPY = {found.numpy: found for found in FORMATS.values()}


@dataclass(frozen=True, slots=True)
class Layout:
    """The formats of the tensors of one parameter.

    Attributes:
        p: Of the parameter.
        g: Of its gradient, and of inputs.
        states: Of its states.
    """

    p: Format
    g: Format
    states: Format

    @classmethod
    def named(cls, name: str) -> Layout:
        """The layout of a name.

        Args:
            name: Triton's names of three formats, as in "bf16/fp32/bf16"; or of one, which
                parameter and gradient have, while states have the format of the arithmetic.
        """
        p, *rest = (BY_TRITON[word] for word in name.split("/"))
        g, states = rest or (p, p.computed)
        return cls(p, g, states)

    def of(self, role: str) -> Format:
        """The format of a tensor by what it is: "p", "g" or "state"."""
        return {"p": self.p, "g": self.g, "state": self.states}[role]


UNIT = {kind: found.unit for kind, found in FORMATS.items()}
