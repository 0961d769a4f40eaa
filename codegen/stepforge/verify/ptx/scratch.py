"""Where Triton leaves what it compiles: Triton's own cache makes three folders for every file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from triton.runtime.cache import CacheManager

UNREAD = (".source", ".ttgir", ".llir")
"""Ends of the names of files that nothing reads; to print them takes a while."""


class Scratch(CacheManager):  # type: ignore[misc]
    """A cache that never has anything: files of one process, which compiles every kernel afresh."""

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        self._folder = Path(os.environ["TRITON_CACHE_DIR"], key)

    def get_file(self, filename: str) -> str | None:
        """Never a file."""
        return None

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Never files."""
        return None

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        """Writes a file and returns its path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / filename
        if filename.endswith(UNREAD):
            data = b""
        path.write_bytes(data if isinstance(data, bytes) else str(data).encode())
        return str(path)

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        """Nothing to do: no one asks for it."""
        return str(self._folder / filename)
