"""Generate the reference of the commands and of params.yaml from the code.

`make docs` adds these pages to the site (hooks.py). They are not kept in git, so they always describe the current code.
"""

import argparse
import dataclasses
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from unittest.mock import patch

import yaml

from explain_deepfakes.cli import COMMANDS
from explain_deepfakes.pipeline.params import read_yaml
from explain_deepfakes.pipeline.project import from_root, relative

COMMANDS_INTRO = """# Commands

Each command is also a script: `explain-deepfakes predict` is `python serving/predict.py`. Every flag can be spelled with
underscores or with hyphens. A default such as `test: 32` is the value in that section of [params.yaml](settings.md)."""
SETTINGS_INTRO = """# Settings: params.yaml

`params.yaml` has all settings of the pipeline, in one section per stage. Each setting is also a flag of
[the stage's command](commands.md): `frames: 16` is `--frames 16`."""

# Modules of settings without a command of their own.
MODULES = (
    *(f"explain_deepfakes.{command.module}" for command in COMMANDS.values()),
    "explain_deepfakes.model_test_train.evaluation.params",
    "explain_deepfakes.preprocessing.video.video",
    "explain_deepfakes.serving.examination.segments",
    "benchmarks.all_networks.all_networks",
)


class ParserReady(Exception):
    """Leaves a command when its parser is complete."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(module: str) -> argparse.ArgumentParser:
    """Run a command until it would parse the command line, and return its parser."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise ParserReady(parser)

    with patch.object(argparse.ArgumentParser, "parse_known_args", stop):
        try:
            import_module(f"explain_deepfakes.{module}").main()
        except ParserReady as ready:
            return ready.parser
    raise AssertionError(f"{module} has no parser")


def commands_page() -> str:
    return "\n\n".join([COMMANDS_INTRO, *(command_section(name, command.module) for name, command in COMMANDS.items())]) + "\n"


def command_section(name: str, module: str) -> str:
    parser, settings = parser_of(module), read_yaml(from_root("params.yaml"))
    sections = re.findall(r"\w+", (parser.epilog or "").partition("(")[2])  # "Defaults: params.yaml (test, read_video)."
    defaults = {key: f"{section}: {as_yaml(value)}" for section in sections for key, value in settings[section].items()}
    parts = [f"## {name}", f"{parser.description} Script: `{module.replace('.', '/')}.py`."]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for summary in action._choices_actions:
                subcommand = action.choices[summary.dest]
                parts += [f"### {name} {summary.dest}", sentence(summary.help or ""), flags_table(subcommand, {})]
    return "\n\n".join(filter(None, [*parts[:2], flags_table(parser, defaults), *parts[2:]]))


def flags_table(parser: argparse.ArgumentParser, defaults: dict[str, str]) -> str:
    hidden = argparse._HelpAction | argparse._SubParsersAction
    rows = [flag_row(action, defaults) for action in parser._actions if not isinstance(action, hidden)]
    return table("flag", "default", "meaning", rows=rows)


def flag_row(action: argparse.Action, defaults: dict[str, str]) -> tuple[str, str, str]:
    values = {name: getattr(action, name) for name in ("dest", "metavar", "choices", "default")}
    meaning, _, default = (action.help or "").partition(" (default: ")
    default = default.removesuffix(")") % values
    if action.choices and "%(choices)s" not in meaning:
        meaning += f": {', '.join(map(str, action.choices))}"
    if action.dest in defaults:
        default = f"`{defaults[action.dest]}`"
    elif not default and isinstance(action.default, Path):
        default = str(relative(action.default))
    elif not default and action.default not in (None, False):
        default = str(action.default)
    if action.required and action.option_strings:
        default = "required"
    return f"`{(*action.option_strings, action.metavar or action.dest)[0]}`", default, meaning % values


def settings_page() -> str:
    path = from_root("params.yaml")
    comments = dict(re.findall(r"^( *\w+):.*? # (.*)$", path.read_text(), re.MULTILINE))  # by key, with its indentation
    declared = {tuple(sorted(fields)): fields for fields in declared_settings()}
    parts = [SETTINGS_INTRO]
    for section, values in read_yaml(path).items():
        fields = declared.get(tuple(sorted(values)), {})
        meanings = {key: setting_help(fields[key]) if key in fields else comments[f"  {key}"] for key in values}
        rows = [(f"`{key}`", f"`{as_yaml(value)}`", meanings[key]) for key, value in values.items()]
        note = sentence(comments.get(section, ""))
        parts += filter(None, [f"## {section}", note, table("setting", "default", "meaning", rows=rows)])
    return "\n\n".join(parts) + "\n"


def declared_settings() -> Iterator[dict[str, dataclasses.Field]]:
    """The fields of each dataclass of settings; they are the keys of its section in params.yaml."""
    for module in MODULES:
        for _, member in getmembers(import_module(module), isclass):
            if dataclasses.is_dataclass(member):
                yield {field.name: field for field in dataclasses.fields(member)}


def setting_help(field: dataclasses.Field) -> str:
    rules = field.metadata
    limits = [f"{words} {rules[key]}" for key, words in (("low", "at least"), ("high", "at most")) if rules[key] is not None]
    return "; ".join([rules["help"], *(["one of " + ", ".join(rules["choices"])] if rules["choices"] else []), *limits])


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def as_yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def table(*header: str, rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""
