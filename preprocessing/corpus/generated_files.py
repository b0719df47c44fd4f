"""The files that a command makes in a corpus and remembers in its ledger: each is made once, and no other is touched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.ledger import Ledger
from pipeline.outputs import remove_empty_folders, sweep

BEGUN = "begun"  # in place of a key: files of the item may be half made


@dataclass(frozen=True)
class GeneratedFiles:
    """Items by name, each with a key of all that its files depend on, and the files it consists of, relative to `out`."""

    out: Path
    ledger: Ledger
    keys: Mapping[str, str]
    files: Mapping[str, list[str]]

    def unfinished(self, name: str) -> list[str]:
        """The files that are missing, or all of them if they were made otherwise."""
        if not self.ledger.is_current(name, self.keys[name]):
            return self.files[name]
        return [file for file in self.files[name] if not (self.out / file).is_file()]

    def sweep(self) -> None:
        """Removes what a killed run left half-written."""
        sweep(self.out / file for entry in self.ledger.entries.values() for file in entry.get("files", ()))

    def claim(self, wanted: Mapping[str, list[str]]) -> None:
        """Remembers, before the first is made, which files will be ours; one of somebody else is not overwritten."""
        for name, files in wanted.items():
            known = set(self._remembered(name))
            for file in files:
                if file not in known and (self.out / file).exists():
                    raise UserError(f"{self.out / file} was not made by this command; move it, or choose another --output_path")
        for name in wanted:
            self.ledger.record(name, BEGUN, files=sorted({*self._remembered(name), *self.files[name]}))

    def done(self, name: str) -> None:
        """The item's files are on disk."""
        self.ledger.record(name, self.keys[name], files=self._remembered(name))

    def forget_others(self) -> None:
        """Removes what was made under other settings and does not belong any more, and only that."""
        made = {file for entry in self.ledger.entries.values() for file in entry.get("files", ())}
        belongs = {file for files in self.files.values() for file in files}
        for file in sorted(made - belongs):
            (self.out / file).unlink(missing_ok=True)
        for name, files in self.files.items():
            self.ledger.entries[name] = {**self.ledger.entries[name], "files": files}
        self.ledger.settle(self.files)
        self._remove_empty(made)

    def _remove_empty(self, files: Iterable[str]) -> None:
        for folder in {(self.out / file).parent for file in files}:
            remove_empty_folders(folder, self.out)

    def _remembered(self, name: str) -> list[str]:
        remembered: list[str] = self.ledger.entries.get(name, {}).get("files", [])
        return remembered
