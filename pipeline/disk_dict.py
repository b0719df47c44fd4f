"""A dict of strings on disk, so that millions of entries need no memory."""

import errno
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager

UPSERT = "INSERT OR REPLACE INTO texts VALUES (?, ?)"


class DiskDict(MutableMapping[str, str]):
    """Iterates in the order of the keys. SQLite keeps the data in an unnamed temporary file in TMPDIR."""

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self.table = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # may be closed in another thread
        weakref.finalize(self, self.table.close)
        self.table.execute("PRAGMA journal_mode = OFF")  # the file is temporary, so a rollback is never needed
        self.table.execute("CREATE TABLE texts (name BLOB PRIMARY KEY, text TEXT)")
        self.table.execute("BEGIN")
        with _full_disk_as_os_error():
            self.table.executemany(UPSERT, ((_encode(name), text) for name, text in items))

    def __getitem__(self, name: str) -> str:
        for (text,) in self.table.execute("SELECT text FROM texts WHERE name = ?", (_encode(name),)):
            return str(text)
        raise KeyError(name)

    def __setitem__(self, name: str, text: str) -> None:
        with _full_disk_as_os_error():
            self.table.execute(UPSERT, (_encode(name), text))

    def __delitem__(self, name: str) -> None:
        if not self.table.execute("DELETE FROM texts WHERE name = ?", (_encode(name),)).rowcount:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for (key,) in self.table.execute("SELECT name FROM texts ORDER BY name"):
            yield key.decode(errors="surrogatepass")

    def __len__(self) -> int:
        (count,) = self.table.execute("SELECT count(*) FROM texts").fetchone()
        return int(count)


def _encode(name: str) -> bytes:
    """Return bytes that sort as Python sorts strings, also for names with surrogates (file names that are not UTF-8)."""
    return name.encode(errors="surrogatepass")


@contextmanager
def _full_disk_as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(errno.ENOSPC, f"{error} (folder of temporary files; set TMPDIR to use another one)") from error
