"""Settings: a section of `params.yaml` and the flags that override it are parsed and checked into a frozen dataclass.

A command declares its settings once, as a dataclass of `setting(...)` fields. The name of a field is the key in
`params.yaml` and the flag (`frames_per_video` -> `--frames_per_video`, also spelled `--frames-per-video`).
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from explain_deepfakes.pipeline.buckets import local_path, reachable_path
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import absolute, find_file, from_root

DEVICES = ("auto", "cpu", "cuda")  # choices of settings that select a device
AUTO = "auto"  # chosen by the machine, if the setting declares how
MAX_VALUES = 100_000  # in a YAML file
NULL_WORDS = ("null", "none", "~", "")  # values of a flag that mean None
TYPE_DESCRIPTIONS: dict[object, str] = {
    int: "an integer",
    float: "a number",
    str: "a string; add quotes if YAML parses it as another type",
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
    implies: dict[str, object] | None = None,
    auto: Callable[[], object] | None = None,
) -> Any:
    """Declare a setting: its help text, its allowed values, and further names of its flag (`flags`).

    The default value is in `params.yaml`. Setting the flag also sets the values that it `implies` for other settings, unless
    flags set those, too. The value `auto` stands for what the function `auto` returns on this machine.
    """
    help += ", or auto" if auto else ""
    rules = {"help": help, "choices": choices, "low": low, "high": high, "flags": flags, "implies": implies or {}, "auto": auto}
    return dataclasses.field(metadata=rules)


@dataclasses.dataclass(frozen=True)
class PathFlag:
    """A file or folder that a command reads or writes.

    The default is relative to the project, the value of a flag to the current folder.
    """

    default: str | None
    help: str
    kind = staticmethod(local_path)


class PathOrUrlFlag(PathFlag):
    """A path that may also be the URL of a file or folder in a bucket."""

    kind = staticmethod(reachable_path)


@dataclasses.dataclass(frozen=True)
class Section:
    """A further section of `params.yaml` that the command uses, with a flag for each of its settings."""

    name: str
    settings: type


@dataclasses.dataclass(frozen=True)
class TextFlag:
    """A string that can be set only on the command line; None if the flag is missing."""

    help: str
    kind = str
    default = None


@dataclasses.dataclass(frozen=True)
class SwitchFlag:
    """A switch that can be set only on the command line; None if the flag is missing."""

    help: str
    default = None


def read_command_line(
    description: str | None, section: str, settings: type[Settings], **extra: PathFlag | TextFlag | SwitchFlag | Section
) -> tuple[Settings, argparse.Namespace]:
    """Return the command's settings, and a namespace of the extra flags and sections by name.

    `overridden` in the namespace has the names of the settings that were set by a flag.
    Unknown flags, keys and values end the command with one line that names them.
    """
    sections = {name: flag for name, flag in extra.items() if isinstance(flag, Section)}
    flags = {name: flag for name, flag in extra.items() if not isinstance(flag, Section)}
    section_names = ", ".join([section, *(shared.name for shared in sections.values())])
    parser = argparse.ArgumentParser(
        description=(description or "").split("\n\n")[0], epilog=f"Defaults: params.yaml ({section_names})."
    )
    for name, flag in flags.items():
        help_text = flag.help + (f" (default: {flag.default})" if flag.default else "")
        if isinstance(flag, SwitchFlag):
            parser.add_argument(*flag_spellings(name), dest=name, help=help_text, action="store_true")
        else:
            parser.add_argument(*flag_spellings(name), dest=name, help=help_text, type=flag.kind)
    for settings_class in (settings, *(shared.settings for shared in sections.values())):
        add_flags(parser, settings_class)
    args = vars(parser.parse_args())
    values = {name: args.pop(name) or flag.default and from_root(flag.default) for name, flag in flags.items()}
    for name, shared in sections.items():
        overrides = {field.name: args.pop(field.name) for field in dataclasses.fields(shared.settings)}
        values[name] = load_params(shared.name, shared.settings, overrides)
    overridden = frozenset(name for name, value in args.items() if value is not None)
    return load_params(section, settings, args), argparse.Namespace(**values, overridden=overridden)


def add_flags(parser: argparse.ArgumentParser, settings: type) -> None:
    """Add an optional flag for each setting. A setting without its flag has the value of `params.yaml`."""
    for field in dataclasses.fields(settings):
        kind = _types_of(settings)[field.name]
        names = flag_spellings(field.name) + field.metadata.get("flags", ())
        help_text = field.metadata["help"]
        if kind is bool:
            parser.add_argument(*names, dest=field.name, action=argparse.BooleanOptionalAction, help=help_text)
        elif kind in (Path, Path | None, tuple[Path, ...]):  # relative to the current folder, as all paths in flags
            nargs = "+" if kind == tuple[Path, ...] else None
            parser.add_argument(*names, dest=field.name, type=_absolute_path, help=help_text, nargs=nargs)
        else:
            parser.add_argument(*names, dest=field.name, metavar=_metavar(field), help=help_text)


def _absolute_path(text: str) -> Path:
    return absolute(reachable_path(text))


def load_params(section: str, settings: type[Settings], overrides: Mapping[str, object] | None = None) -> Settings:
    """Load a section of `params.yaml`. Overrides that are not None, as values or texts of flags, take precedence."""
    path = find_file("params.yaml")
    values = read_yaml(path).get(section)
    if not isinstance(values, dict):
        raise UserError(f"{path.name} has no section '{section}'")
    kinds = _types_of(settings)
    flag_values = {
        name: parse_flag(value, kinds[name], flag_spellings(name)[0]) if isinstance(value, str) and name in kinds else value
        for name, value in (overrides or {}).items()
        if value is not None
    }
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        if field.name in flag_values:
            flag_values = {**field.metadata.get("implies", {}), **flag_values}
    return build_settings(settings, {**values, **flag_values}, where=f"{path.name}: {section}")


def build_settings(settings: type[Settings], values: Mapping[str, object], where: str) -> Settings:
    """Build the dataclass from plain values of a YAML file. `where` names their source in error messages."""
    fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    unknown, missing = sorted(set(values) - set(fields)), sorted(set(fields) - set(values))
    if unknown:
        raise UserError(f"{where}.{unknown[0]} is not a setting; available: {', '.join(fields)}")
    if missing:
        raise UserError(f"{where}.{missing[0]} is missing")
    kinds = _types_of(settings)
    return settings(**{name: _checked(values[name], kinds[name], fields[name], where) for name in fields})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if count_values(values, {}) > MAX_VALUES:
        raise UserError(f"{path} has more than {MAX_VALUES} values, since its aliases repeat others; write it without aliases")
    if not isinstance(values, dict):
        raise UserError(f"{path} must contain 'key: value' lines")
    return values


def count_values(content: object, counts: dict[int, int]) -> int:
    """Return how many values a YAML file has if its aliases are written out. `counts` has those of known containers."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in counts:
        counts[id(content)] = 1  # in case it contains itself
        inside = content.values() if isinstance(content, dict) else content
        counts[id(content)] = 1 + sum(count_values(value, counts) for value in inside)
    return counts[id(content)]


def flag_spellings(name: str) -> tuple[str, ...]:
    """Return the flag with underscores, as in the published scripts, and with hyphens, as in most tools."""
    return tuple(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def parse_flag(text: str, kind: object, flag: str) -> object:
    """Convert the text of a flag to the type of its setting. A string stays as it was typed, unlike with YAML."""
    if kind is str or kind is Path:
        return text
    if isinstance(kind, types.UnionType):
        return None if text.lower() in NULL_WORDS else parse_flag(text, _inner(kind), flag)
    if text == AUTO:
        return text
    if kind is int or kind is float:
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            raise UserError(f"{flag} is {text!r}; it must be {TYPE_DESCRIPTIONS[kind]}") from None
    if typing.get_origin(kind) is not tuple:
        return _parse_yaml(text, yaml.SafeLoader, flag)
    item_kind = typing.get_args(kind)[0]
    # The base loader keeps each item as text, which is then parsed like the text of a flag.
    items = _parse_yaml(text, yaml.SafeLoader if dataclasses.is_dataclass(item_kind) else yaml.BaseLoader, flag)
    if isinstance(items, str):  # a,b without the brackets
        items = [item.strip() for item in items.split(",")]
    if not isinstance(items, list):
        raise UserError(f"{flag} is {text!r}; it must be a list, such as [a,b]")
    return tuple(parse_flag(item, item_kind, flag) if isinstance(item, str) else item for item in items)


def _parse_yaml(text: str, loader: type[yaml.SafeLoader] | type[yaml.BaseLoader], flag: str) -> object:
    try:
        parsed: object = yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise UserError(f"{flag} is {text!r}, which is not valid YAML: {' '.join(str(error).split())}") from error
    return parsed


def _types_of(settings: type) -> Mapping[str, object]:
    return typing.get_type_hints(settings)


def _metavar(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return "{" + ",".join(choices) + "}" if choices else field.name.upper()


def _checked(value: object, kind: object, field: dataclasses.Field, where: str) -> object:
    """Convert the value, and raise if it violates a rule of the setting."""
    name, rules = f"{where}.{field.name}", field.metadata
    if value == AUTO and rules.get("auto"):
        value = rules["auto"]()
    value = converted(value, kind, name)
    if rules.get("choices") and value is not None and value not in rules["choices"]:
        raise UserError(f"{name} is '{value}'; choose from: {', '.join(rules['choices'])}")
    for number in value if isinstance(value, tuple) else (value,):
        if rules.get("low") is not None and number is not None and number < rules["low"]:
            raise UserError(f"{name} is {number}; the minimum is {rules['low']}")
        if rules.get("high") is not None and number is not None and number > rules["high"]:
            raise UserError(f"{name} is {number}; the maximum is {rules['high']}")
    return value


def converted(value: object, kind: object, name: str) -> object:
    """Return the value as `kind`. Integers are accepted as float; all other types must match."""
    if isinstance(kind, types.UnionType):
        return None if value is None else converted(value, _inner(kind), name)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{name} is {value!r}; it must be a list")
        return tuple(converted(item, typing.get_args(kind)[0], name) for item in value)
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{name} is {value!r}; it must be {TYPE_DESCRIPTIONS[dict]}")
        key_kind, item_kind = typing.get_args(kind)
        return {converted(key, key_kind, name): converted(item, item_kind, f"{name}.{key}") for key, item in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return build_settings(kind, value, name)
    if kind is Path and isinstance(value, str):
        return from_root(reachable_path(value))
    if kind is Path and hasattr(value, "parents"):  # a Path or UPath
        return from_root(typing.cast(Path, value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(kind, type):
        raise TypeError(f"{name}: {kind} is not a type of settings")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{name} is {value!r}; it must be {TYPE_DESCRIPTIONS.get(kind, kind.__name__)}")
    return value


def _inner(kind: types.UnionType) -> object:
    """Return X of `X | None`, the only kind of union in settings."""
    return next(part for part in typing.get_args(kind) if part is not type(None))
