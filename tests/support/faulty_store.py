"""A store in memory, `faulty://`, whose connection is lost in mid-download as often as a test says."""

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):
    """Counts what is asked of it; `faults` downloads stop half-way, `short` of them without saying so."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    downloads: ClassVar[list[str]] = []
    faults: ClassVar[int] = 0
    short: ClassVar[int] = 0
    error: ClassVar[BaseException] = ConnectionResetError("sig=SECRET")
    extra: ClassVar[dict[str, Any]] = {}
    unlisted: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("faulty://", "memory://")))

    @classmethod
    def forget(cls) -> None:
        cls.store.clear()
        cls.downloads.clear()
        cls.unlisted.clear()
        cls.faults = cls.short = 0
        cls.extra = {}
        cls.error = ConnectionResetError("sig=SECRET")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if self.unlisted == ["info"]:
            raise self.error
        return {**super().info(path, **kwargs), **self.extra}

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        found = super().find(path, *args, **kwargs)
        named = {
            f"{self._strip_protocol(path)}/{name}": {"name": name, "type": "file", "size": 1} for name in self.unlisted
        }
        return {**found, **named} if isinstance(found, dict) else found

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        cls = type(self)
        cls.downloads.append(rpath)
        super().get_file(rpath, lpath, **kwargs)
        if cls.faults or cls.short:
            with open(lpath, "r+b") as file:  # noqa: PTH123
                file.truncate(self.info(rpath)["size"] // 2)
        if cls.short:
            cls.short -= 1
        elif cls.faults:
            cls.faults -= 1
            raise cls.error


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
