"""The names that C has for itself; an author's gets an underscore there."""

from __future__ import annotations

KEYWORDS = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "bool", "true", "false", "nullptr", "asm",
    "typeof", "constexpr", "alignas", "alignof", "static_assert", "thread_local",
})  # fmt: skip
"""Of C11, GNU C and C23."""
OWN = frozenset({
    "real", "n", "i", "at", "numbers", "options", "stored", "format", "NULL", "INFINITY", "NAN",
    "HUGE_VAL", "int64_t", "uint8_t", "uint32_t", "uint64_t", "size_t", "memcpy", "memset",
    "signgam", "linux", "unix", "float_t", "double_t", "t", "sqrt", "fabs", "fmod", "copysign",
    "exp", "log", "expm1", "tanh", "cbrt", "sin", "cos", "atan2", "floor", "pow", "host_max",
    "host_min", "host_sign", "host_mod",
})  # fmt: skip
"""What a generated file calls something else: functions and macros, parameters and locals. The
reserved name `t` is no author's."""
