"""Settings: a section of `params.yaml` and the flags that override it -> one frozen dataclass, checked.

A command declares its settings once, as a dataclass of `setting(...)` fields. The field's name is the key in
`params.yaml` and the flag (`frames_per_video` -> `--frames_per_video`, also spelt `--frames-per-video`).
"""

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.buckets import on_disk, reached
from pipeline.errors import UserError
from pipeline.project import absolute, from_root

DEVICES = ("auto", "cpu", "cuda")  # that work may run on
NOTHING = ("null", "none", "~", "")  # a flag's text that says None
EXPECTED = {
    int: "a whole number",
    float: "a number",
    str: "a text; put it in quotes where YAML reads something else",
    bool: "true or false",
    dict: "a mapping",
}

Settings = TypeVar("Settings")


def setting(
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    flags: tuple[str, ...] = (),
    implies: dict[str, Any] | None = None,
) -> Any:
    """A knob: what it does, and what it may be. `flags` are further names of its flag.

    It has no default here: that is `params.yaml`'s to say. What its flag `implies` for other knobs holds unless they
    are given too.
    """
    rules = {"help": help, "choices": choices, "low": low, "high": high, "flags": flags, "implies": implies or {}}
    return dataclasses.field(metadata=rules)


@dataclasses.dataclass(frozen=True)
class PathFlag:
    """A file or folder that a command reads or writes.

    The default is relative to the project, a flag to the current folder.
    """

    default: str | None
    help: str
    kind = staticmethod(on_disk)


class PlaceFlag(PathFlag):
    """One that may also be a URL, of something in a bucket."""

    kind = staticmethod(reached)


@dataclasses.dataclass(frozen=True)
class Section:
    """A further section of `params.yaml` that the command's work depends on, with a flag for each of its settings."""

    name: str
    settings: type


@dataclasses.dataclass(frozen=True)
class TextFlag:
    """A word that only the command line can say; None if it is not given."""

    help: str
    kind = str
    default = None


@dataclasses.dataclass(frozen=True)
class SwitchFlag:
    """A yes that only the command line can say; None if it does not."""

    help: str
    default = None


def read_command_line(
    description: str | None, section: str, settings: type[Settings], **extra: PathFlag | TextFlag | SwitchFlag | Section
) -> tuple[Settings, argparse.Namespace]:
    """The command's settings, and what else it is given or reads from further sections, by name.

    `overridden` has the names of the settings that a flag gave.
    Unknown flags, keys and values end in one line that names them.
    """
    sections = {name: flag for name, flag in extra.items() if isinstance(flag, Section)}
    flags = {name: flag for name, flag in extra.items() if not isinstance(flag, Section)}
    homes = ", ".join([section, *(shared.name for shared in sections.values())])
    parser = argparse.ArgumentParser(
        description=(description or "").split("\n\n")[0], epilog=f"Defaults: params.yaml, section {homes}."
    )
    for name, flag in flags.items():
        default = f" (default: {flag.default})" if flag.default else ""
        kind: dict[str, Any] = {"action": "store_true"} if isinstance(flag, SwitchFlag) else {"type": flag.kind}
        parser.add_argument(*spellings(name), dest=name, help=flag.help + default, **kind)
    for knobs in (settings, *(shared.settings for shared in sections.values())):
        add_flags(parser, knobs)
    given = vars(parser.parse_args())
    found = {name: given.pop(name) or flag.default and from_root(flag.default) for name, flag in flags.items()}
    for name, shared in sections.items():
        overrides = {field.name: given.pop(field.name) for field in dataclasses.fields(shared.settings)}
        found[name] = load_params(shared.name, shared.settings, overrides)
    overridden = frozenset(name for name, value in given.items() if value is not None)
    return load_params(section, settings, given), argparse.Namespace(**found, overridden=overridden)


def add_flags(parser: argparse.ArgumentParser, settings: type) -> None:
    """One optional flag a setting; a flag that is not given leaves the setting to `params.yaml`."""
    for field in dataclasses.fields(settings):
        kind = _kinds(settings)[field.name]
        names = spellings(field.name) + field.metadata.get("flags", ())
        help_text = field.metadata["help"]
        if kind is bool:
            parser.add_argument(*names, dest=field.name, action=argparse.BooleanOptionalAction, help=help_text)
        elif kind in (Path, Path | None, tuple[Path, ...]):  # as any flag that is a path, relative to the current folder
            many: dict[str, Any] = {"nargs": "+"} if kind == tuple[Path, ...] else {}
            parser.add_argument(*names, dest=field.name, type=lambda text: absolute(reached(text)), help=help_text, **many)
        else:
            parser.add_argument(*names, dest=field.name, metavar=_metavar(field), help=help_text)


def load_params(section: str, settings: type[Settings], overrides: dict[str, Any] | None = None) -> Settings:
    """The section of `params.yaml`, with the overrides that are not None put over it: values, or texts of flags."""
    path = from_root("params.yaml")
    values = read_yaml(path).get(section)
    if not isinstance(values, dict):
        raise UserError(f"{path.name} has no section '{section}'")
    kinds = _kinds(settings)
    given = {
        name: parse(value, kinds[name], spellings(name)[0]) if isinstance(value, str) and name in kinds else value
        for name, value in (overrides or {}).items()
        if value is not None
    }
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        if field.name in given:
            given = {**field.metadata.get("implies", {}), **given}
    return build(settings, {**values, **given}, where=f"{path.name}: {section}")


def build(settings: type[Settings], values: dict[str, Any], where: str) -> Settings:
    """Plain values, as a YAML file holds them -> the dataclass; `where` names their home in error messages."""
    fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    unknown, missing = sorted(set(values) - set(fields)), sorted(set(fields) - set(values))
    if unknown:
        raise UserError(f"{where}.{unknown[0]} is not a setting; there are: {', '.join(fields)}")
    if missing:
        raise UserError(f"{where}.{missing[0]} is missing")
    kinds = _kinds(settings)
    return settings(**{name: _checked(values[name], kinds[name], fields[name], where) for name in fields})


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping."""
    if not path.is_file():
        raise UserError(f"{path} is not there")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold 'key: value' lines")
    return values


def spellings(name: str) -> tuple[str, ...]:
    """The flag as the published scripts spell it, with underscores, and as most tools do, with hyphens."""
    return tuple(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def parse(text: str, kind: Any, flag: str) -> Any:
    """The text of a flag as its setting's type: a text stays as it was typed, which YAML would not leave it."""
    if kind is str or kind is Path:
        return text
    if isinstance(kind, types.UnionType):
        return None if text.lower() in NOTHING else parse(text, _inner(kind), flag)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise UserError(f"{flag} is {text!r}; it must be {EXPECTED[kind]}") from None
    if typing.get_origin(kind) is not tuple:
        return _parse_yaml(text, yaml.SafeLoader, flag)
    item_kind = typing.get_args(kind)[0]
    # The base loader leaves each item the text that it is, to be parsed as a flag's text is.
    items = _parse_yaml(text, yaml.SafeLoader if dataclasses.is_dataclass(item_kind) else yaml.BaseLoader, flag)
    if isinstance(items, str):  # a,b without the brackets
        items = [item.strip() for item in items.split(",")]
    if not isinstance(items, list):
        raise UserError(f"{flag} is {text!r}; it must be a list, such as [a,b]")
    return tuple(parse(item, item_kind, flag) if isinstance(item, str) else item for item in items)


def _parse_yaml(text: str, loader: Any, flag: str) -> Any:
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise UserError(f"{flag} is {text!r}, which cannot be read: {' '.join(str(error).split())}") from error


def _kinds(settings: type) -> dict[str, Any]:
    return typing.get_type_hints(settings)


def _metavar(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return "{" + ",".join(choices) + "}" if choices else field.name.upper()


def _checked(value: Any, kind: Any, field: dataclasses.Field, where: str) -> Any:
    name, rules = f"{where}.{field.name}", field.metadata
    value = _converted(value, kind, name)
    if rules.get("choices") and value is not None and value not in rules["choices"]:
        raise UserError(f"{name} is '{value}'; it can be: {', '.join(rules['choices'])}")
    for number in value if isinstance(value, tuple) else (value,):
        if rules.get("low") is not None and number is not None and number < rules["low"]:
            raise UserError(f"{name} is {number}; the least it can be is {rules['low']}")
        if rules.get("high") is not None and number is not None and number > rules["high"]:
            raise UserError(f"{name} is {number}; the most it can be is {rules['high']}")
    return value


def _converted(value: Any, kind: Any, name: str) -> Any:
    """The value as `kind`: whole numbers pass as float, nothing else changes its type."""
    if isinstance(kind, types.UnionType):
        return None if value is None else _converted(value, _inner(kind), name)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{name} is {value!r}; it must be a list")
        return tuple(_converted(item, typing.get_args(kind)[0], name) for item in value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return build(kind, value, name)
    if kind is Path and isinstance(value, str):
        return from_root(reached(value))
    if kind is Path and hasattr(value, "parents"):  # a path, or what a URL names
        return from_root(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{name} is {value!r}; it must be {EXPECTED.get(kind, kind.__name__)}")
    return value


def _inner(kind: types.UnionType) -> Any:
    """Of `X | None`, which alone occurs: X."""
    return next(part for part in typing.get_args(kind) if part is not type(None))
