"""Which of the project's code each stage of dvc.yaml depends on: its script, and what that imports, directly or not.

`python -m pipeline.stage_code` checks dvc.yaml, and with --write completes it. A folder of modules within a package is
listed as a whole. Modules of `pipeline` are left out, except the index: every stage imports them, and they decide how work
is done, not what comes out of it.
"""

import argparse
import ast
from collections.abc import Iterator
from functools import cache

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.errors import UserError, run
from pipeline.project import CODE

PACKAGES = ("pipeline", "preprocessing", "model_test_train", "explain_model", "serving", "BWCluster")
ALWAYS = {"pipeline/index.py"}
DVC = CODE / "dvc.yaml"


def code_of_script(script: str) -> set[str]:
    """The project's files that a change of the script's results may come from: itself, and what it imports, directly or not."""
    found, ahead = set(), [script]
    while ahead:
        file = ahead.pop()
        if file not in found:
            found.add(file)
            ahead += _imports_of(file)
    return {file for file in found if file in ALWAYS or not file.startswith("pipeline/")}


@cache
def _imports_of(file: str) -> tuple[str, ...]:
    tree = _WithoutTypes().visit(ast.parse((CODE / file).read_text()))
    return tuple(_files_imported(tree))


class _WithoutTypes(ast.NodeTransformer):
    """Leaves out what is imported for annotations only."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _files_imported(tree: ast.Module) -> Iterator[str]:
    """By import statements, and by texts that name a module or a script, since some are run in other processes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.removesuffix(".py").replace("/", "."), node.value.rpartition(".")[0]]
        else:
            continue
        for name in names:
            place = name.replace(".", "/")
            if name.split(".")[0] in PACKAGES and "\n" not in name:
                yield from (file for file in (f"{place}.py", f"{place}/__init__.py") if (CODE / file).is_file())


def code_listed(stage: CommentedMap) -> set[str]:
    """The stage's dependencies that are code."""
    return {dep for dep in stage["deps"] if dep.endswith(".py") or any((CODE / dep).glob("*.py"))}


def code_needed(stage: CommentedMap) -> set[str]:
    return {_as_listed(file) for file in code_of_script(stage["cmd"].split()[1]) if not file.endswith("__init__.py")}


def _as_listed(file: str) -> str:
    package, *folders, _ = file.split("/")
    return "/".join((package, *folders)) if folders else file


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that each stage in dvc.yaml depends on the code that it runs.")
    parser.add_argument("--write", action="store_true", help="write the missing dependencies into dvc.yaml")
    given = parser.parse_args()
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(DVC.read_text())
    wrong = {name: stage for name, stage in content["stages"].items() if code_listed(stage) != code_needed(stage)}
    if wrong and not given.write:
        raise UserError(
            f"in dvc.yaml, the code that {', '.join(wrong)} depends on is wrong; run python -m pipeline.stage_code --write"
        )
    for stage in wrong.values():
        others = [dep for dep in stage["deps"] if dep not in code_listed(stage)]
        stage["deps"] = CommentedSeq([*others, *sorted(code_needed(stage))])
    if wrong:
        with DVC.open("w") as file:
            yaml.dump(content, file)


if __name__ == "__main__":
    run(main)
