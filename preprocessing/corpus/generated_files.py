"""Files that a command generates in a corpus and records in its ledger: each is made once; other files are never touched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import Ledger
from explain_deepfakes.pipeline.outputs import remove_empty_folders, remove_leftovers

BEGUN = "begun"  # key of an item whose files may be incomplete


@dataclass(frozen=True)
class GeneratedFiles:
    """Items by name, each with a key of everything that its files depend on, and its files relative to `out`."""

    out: Path
    ledger: Ledger
    keys: Mapping[str, str]
    files: Mapping[str, list[str]]

    def unfinished(self, name: str) -> list[str]:
        """Return the missing files of an item, or all if its key has changed."""
        if not self.ledger.is_current(name, self.keys[name]):
            return self.files[name]
        return [file for file in self.files[name] if not (self.out / file).is_file()]

    def remove_leftovers(self) -> None:
        """Remove files that a killed run left incomplete."""
        remove_leftovers(self.out / file for entry in self.ledger.entries.values() for file in entry.get("files", ()))

    def claim(self, unfinished: Mapping[str, list[str]]) -> None:
        """Record the files of these items before they are made. Raises if one exists that this command did not make."""
        for name, files in unfinished.items():
            known = set(self._recorded(name))
            for file in files:
                if file not in known and (self.out / file).exists():
                    raise UserError(f"{self.out / file} was not made by this command; move it, or choose another --output_path")
        for name in unfinished:
            self.ledger.record(name, BEGUN, files=sorted({*self._recorded(name), *self.files[name]}))

    def finish(self, name: str) -> None:
        """Record that all files of an item are on disk."""
        self.ledger.record(name, self.keys[name], files=self._recorded(name))

    def remove_others(self) -> None:
        """Remove recorded files that belong to none of the items any more, such as those of earlier settings."""
        recorded = {file for entry in self.ledger.entries.values() for file in entry.get("files", ())}
        current = {file for files in self.files.values() for file in files}
        for file in sorted(recorded - current):
            (self.out / file).unlink(missing_ok=True)
        for name, files in self.files.items():
            self.ledger.entries[name] = {**self.ledger.entries[name], "files": files}
        self.ledger.compact(self.files)
        self._remove_empty_folders(recorded)

    def _remove_empty_folders(self, files: Iterable[str]) -> None:
        for folder in {(self.out / file).parent for file in files}:
            remove_empty_folders(folder, self.out)

    def _recorded(self, name: str) -> list[str]:
        return self.ledger.entry(name).get("files", [])
