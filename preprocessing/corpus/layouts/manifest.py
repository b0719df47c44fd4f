"""MANIFEST: a table of videos, as CSV, TSV, JSON or JSON lines, whose columns the user names.

    --manifest labels.csv --columns "video=Filename,label=Ground Truth,split=Set" --values "Forged=fake,Unclear=skip"

`video` and `label` are needed. `split`, `identity`, `method`, `original`, `segments` and `mask` are used if they are named.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import ORIGINAL, Segment, parse_segments
from explain_deepfakes.preprocessing.corpus.layouts import deepfakebench
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records
from explain_deepfakes.preprocessing.corpus.layouts.tree import Tree, identity_from_name, parse_label, parse_split

FIELDS = {  # the fields of a record, with names of columns that often have them
    "video": ("video", "file", "filename", "filepath", "path", "video_path", "video_name", "clip", "name", "key"),
    "label": ("label", "class", "target", "ground_truth", "video_ground_truth", "is_fake", "fake", "modify_video", "y"),
    "split": ("split", "set", "subset", "partition", "fold"),
    "identity": ("identity", "person", "subject", "speaker", "actor", "id"),
    "method": ("method", "manipulation", "generator", "engine", "type"),
    "original": ("original", "source", "source_video", "made_from"),
    "segments": ("segments", "fake_segments", "fake_periods", "periods"),
    "mask": ("mask", "mask_path"),
}
REQUIRED = ("video", "label")
SKIP = "skip"  # a value of label or split whose videos are left out
KEY = "key"  # column for the keys of a JSON object
MAX_COLUMNS = 30  # in a message

Row = Mapping[str, object]


def read_manifest(path: Path, data_path: Path, columns: Sequence[str], values: Sequence[str]) -> Tree:
    if deepfakebench.is_list(path):
        return deepfakebench.read_list(path, data_path)
    rows = list(read_table(path))
    if not rows:
        raise UserError(f"{path} has no rows")
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is not a table: each row must be a JSON object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    mapping, meanings = parse_columns(path, columns, names), _parse_pairs(values, "--values", "Forged=fake")
    tree = Tree("MANIFEST", path.parent)
    records = [record for row in rows if (record := _make_record(path, row, mapping, meanings))]
    add_records(tree, records, MediaFinder([path.parent, data_path]))
    if skipped := len(rows) - len(records):
        tree.notes.append(f"{skipped} of the {len(rows)} rows are left out, as their value is mapped to '{SKIP}'")
    if not tree.items:
        raise UserError(
            f"none of the {len(records)} videos in {path} exists, such as {records[0].video}; they are searched below "
            f"{path.parent} and {data_path}"
            if records
            else f"all rows of {path} are skipped"
        )
    return tree


def read_table(path: Path) -> Iterator[Row]:
    """Yield the rows of a table. The keys of a JSON object become the column `key`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
        elif path.suffix.lower() == ".json":
            content = json.loads(text)
            yield from ({KEY: key, **row} for key, row in content.items()) if isinstance(content, dict) else content
        elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
            first = text.partition("\n")[0]
            delimiter = "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","
            for row in csv.DictReader(text.splitlines(), delimiter=delimiter):
                yield {name: value for name, value in row.items() if name}
        else:
            raise UserError(f"{path} is not a manifest: its name must end in .csv, .tsv, .json or .jsonl")
    except FileNotFoundError as error:
        raise UserError(f"the manifest {path} does not exist") from error
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({error})") from error


def parse_columns(path: Path, columns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the column of each field. Without columns, raise an error that proposes them."""
    mapping = _parse_pairs(columns, "--columns", "video=Filename")
    unknown = [field for field in mapping if field not in FIELDS]
    if unknown:
        raise UserError(f"--columns names '{unknown[0]}', which is not a field; there are: {', '.join(FIELDS)}")
    if absent := [column for column in mapping.values() if column not in names]:
        raise UserError(f"{path} has no column '{absent[0]}'; it has: {_list_columns(names)}")
    if missing := [field for field in REQUIRED if field not in mapping]:
        proposal = ",".join(f"{field}={column}" for field, column in {**propose_columns(names), **mapping}.items())
        hint = f'for example --columns "{proposal}"' if proposal else 'for example --columns "video=...,label=..."'
        raise UserError(f"{path} has the columns {_list_columns(names)}; name those of {' and '.join(missing)}, {hint}")
    return mapping


def propose_columns(names: Sequence[str]) -> dict[str, str]:
    """Return the columns that seem to have the fields, by their names."""
    normalised = {"_".join(name.lower().replace("-", " ").split()): name for name in reversed(names)}
    proposal = {field: [normalised[word] for word in words if word in normalised] for field, words in FIELDS.items()}
    return {field: columns[0] for field, columns in proposal.items() if columns}


def _list_columns(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_COLUMNS]) + (", …" if len(names) > MAX_COLUMNS else "")


def _parse_pairs(pairs: Sequence[str], flag: str, example: str) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (separator and name.strip() and value.strip()):
            raise UserError(f"{flag} has '{pair}', which does not have the form {example}")
        parsed[name.strip()] = value.strip()
    return parsed


def _make_record(path: Path, row: Row, mapping: Mapping[str, str], meanings: Mapping[str, str]) -> Record | None:
    """Return the record of a row; None if its label or split is mapped to `skip`."""
    cells = {field: row.get(column) for field, column in mapping.items()}
    video = str(cells["video"] or "").strip()
    if not video:
        raise UserError(f"{path} has a row without a video: {dict(row)}")
    label_word, split_word = (_translate(cells.get(field), meanings) for field in ("label", "split"))
    if SKIP in (label_word.lower(), split_word.lower()):
        return None
    label, split = parse_label(label_word), parse_split(split_word)
    if label is None:
        raise UserError(
            f"{path}: the label of '{video}' is '{label_word}', which is neither real nor fake; say what it means, "
            f'for example --values "{label_word}=fake" or --values "{label_word}={SKIP}"'
        )
    if split_word and not split:
        raise UserError(
            f"{path}: the split of '{video}' is '{split_word}'; say which of train, val and test it is, "
            f'for example --values "{split_word}=test"'
        )
    method = str(cells.get("method") or "").strip().replace("/", "-").replace("\\", "-")
    if method in (ORIGINAL, ".", ".."):
        raise UserError(f"{path}: the method of '{video}' is '{method}', which cannot be the name of a manipulation")
    return Record(
        video,
        label,
        split,
        tuple(map(identity_from_name, _texts(cells.get("identity")))),
        method,
        tuple(_texts(cells.get("original"))),
        _segments(path, video, cells.get("segments")),
        str(cells.get("mask") or "").strip(),
    )


def _translate(cell: object, meanings: Mapping[str, str]) -> str:
    word = "" if cell is None else str(cell).strip()
    return meanings.get(word, word)


def _texts(cell: object) -> list[str]:
    """Return the texts of a cell that may have several, as a JSON list or separated by semicolons."""
    parts = cell if isinstance(cell, list) else [] if cell is None else str(cell).split(";")
    return [text for part in parts if (text := str(part).strip())]


def _segments(path: Path, video: str, cell: object) -> tuple[Segment, ...]:
    """Return segments written as [[1.5, 3], [7, 8]] or as `1.5..3 7..8`."""
    try:
        content = json.loads(cell) if isinstance(cell, str) and cell.strip().startswith("[") else cell
        if isinstance(content, list):
            content = " ".join(f"{float(begin)}..{float(end)}" for begin, end in content)
        return parse_segments(str(content or ""))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: the segments of '{video}' are '{cell}'; they must be pairs of seconds, such as 1.5..3"
        ) from error
