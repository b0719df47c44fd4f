"""Texts by name that lie on disk, so that a million of them take no memory."""

import errno
import sqlite3
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager

PUT = "INSERT OR REPLACE INTO texts VALUES (?, ?)"


class DiskDict(MutableMapping[str, str]):
    """In the order of their names. SQLite keeps them in a file without a name, in the folder for such that TMPDIR tells."""

    def __init__(self, texts: Iterable[tuple[str, str]] = ()) -> None:
        self.table = sqlite3.connect("", isolation_level=None)
        self.table.execute("PRAGMA journal_mode = OFF")  # it goes with us: there is nothing to go back to
        self.table.execute("CREATE TABLE texts (name BLOB PRIMARY KEY, text TEXT)")
        self.table.execute("BEGIN")
        with _disk():
            self.table.executemany(PUT, ((_key(name), text) for name, text in texts))

    def __getitem__(self, name: str) -> str:
        for (text,) in self.table.execute("SELECT text FROM texts WHERE name = ?", (_key(name),)):
            return str(text)
        raise KeyError(name)

    def __setitem__(self, name: str, text: str) -> None:
        with _disk():
            self.table.execute(PUT, (_key(name), text))

    def __delitem__(self, name: str) -> None:
        if not self.table.execute("DELETE FROM texts WHERE name = ?", (_key(name),)).rowcount:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for (key,) in self.table.execute("SELECT name FROM texts ORDER BY name"):
            yield key.decode(errors="surrogatepass")

    def __len__(self) -> int:
        (count,) = self.table.execute("SELECT count(*) FROM texts").fetchone()
        return int(count)


def _key(name: str) -> bytes:
    """Sorted as Python sorts names, and also of those that are no Unicode."""
    return name.encode(errors="surrogatepass")


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(errno.ENOSPC, f"{error}, where temporary files lie; TMPDIR names another folder") from error
