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
CPP_KEYWORDS = frozenset({
    "and", "and_eq", "bitand", "bitor", "catch", "class", "co_await", "co_return", "co_yield",
    "compl", "concept", "const_cast", "consteval", "constinit", "decltype", "delete",
    "dynamic_cast", "explicit", "export", "friend", "mutable", "namespace", "new", "noexcept",
    "not", "not_eq", "operator", "or", "or_eq", "private", "protected", "public",
    "reinterpret_cast", "requires", "static_cast", "template", "this", "throw", "try",
    "typeid", "typename", "using", "virtual", "wchar_t", "char8_t", "char16_t", "char32_t",
    "xor", "xor_eq",
})  # fmt: skip
"""Keywords of C++ that C does not have."""
OWN = frozenset({
    "real", "n", "i", "at", "numbers", "options", "stored", "format", "NULL", "INFINITY", "NAN",
    "HUGE_VAL", "int64_t", "uint8_t", "uint32_t", "uint64_t", "size_t", "memcpy", "memset",
    "signgam", "linux", "unix", "float_t", "double_t", "t", "sqrt", "fabs", "fmod", "copysign",
    "exp", "log", "expm1", "tanh", "cbrt", "sin", "cos", "atan2", "floor", "pow", "host_max",
    "host_min", "host_sign", "host_mod",
})  # fmt: skip
"""What a generated file calls something else: functions and macros, parameters and locals. The
reserved name `t` is no author's."""
