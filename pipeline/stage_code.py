"""The code that each stage of dvc.yaml depends on: its script, and the modules that it imports, directly or indirectly.

`python pipeline/stage_code.py` checks dvc.yaml, and updates it with --write. A subfolder of a package is listed as a folder.
Modules of `pipeline` are left out, except the index: all stages import them, and they do not affect the results.
"""

import argparse
import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.project import CODE

IMPORT_PREFIX = "explain_deepfakes."  # that package consists of links to these folders
PACKAGES = ("pipeline", "preprocessing", "model_test_train", "explain_model", "serving", "BWCluster")
ALWAYS = {"pipeline/index.py"}
DVC = CODE / "dvc.yaml"


def code_of_script(script: str) -> set[str]:
    """Return the files that may affect the script's results: the script, and the modules it imports, directly or indirectly."""
    files, queue = set(), [script]
    while queue:
        file = queue.pop()
        if file not in files:
            files.add(file)
            queue += _imports_of(file)
    return {file for file in files if file in ALWAYS or not file.startswith("pipeline/")}


@cache
def _imports_of(file: str) -> tuple[str, ...]:
    tree = _WithoutTypes().visit(ast.parse((CODE / file).read_text()))
    return tuple(_files_imported(tree))


class _WithoutTypes(ast.NodeTransformer):
    """Removes imports that are for type annotations only."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _files_imported(tree: ast.Module) -> Iterator[str]:
    """Yield the files of import statements, and of strings that name a module or script, since some run in other processes."""
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
            path = name.removeprefix(IMPORT_PREFIX).replace(".", "/")
            if path.split("/")[0] in PACKAGES and "\n" not in name:
                yield from (file for file in (f"{path}.py", f"{path}/__init__.py") if (CODE / file).is_file())


def body_of(stage: CommentedMap) -> CommentedMap:
    """The part of a stage with its command and dependencies, which is below `do` if there is one for each of several names."""
    part: CommentedMap = stage.get("do", stage)
    return part


def code_listed(stage: CommentedMap) -> set[str]:
    """Return the dependencies of the stage that are code, or were before they were moved."""
    return {dep for dep in stage["deps"] if dep.split("/")[0] in PACKAGES and _is_code(CODE / dep)}


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or not path.exists() or any(path.glob("*.py"))


def code_needed(stage: CommentedMap) -> set[str]:
    """Return the code that the stage should depend on."""
    listed = {_as_listed(file) for file in code_of_script(stage["cmd"].split()[1]) if not file.endswith("__init__.py")}
    return {path for path in listed if not any(path.startswith(f"{folder}/") for folder in listed)}


def _as_listed(file: str) -> str:
    package, *folders, _ = file.split("/")
    return "/".join((package, *folders)) if folders else file


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that each stage in dvc.yaml depends on the code that it runs.")
    parser.add_argument("--write", action="store_true", help="write the missing dependencies into dvc.yaml")
    args = parser.parse_args()
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(DVC.read_text())
    stages = {name: body_of(stage) for name, stage in content["stages"].items()}
    wrong = {name: stage for name, stage in stages.items() if code_listed(stage) != code_needed(stage)}
    if wrong and not args.write:
        raise UserError(f"dvc.yaml: wrong code dependencies of {', '.join(wrong)}; run `python pipeline/stage_code.py --write`")
    for stage in wrong.values():
        others = [dep for dep in stage["deps"] if dep not in code_listed(stage)]
        stage["deps"] = CommentedSeq([*others, *sorted(code_needed(stage))])
    if wrong:
        with DVC.open("w") as file:
            yaml.dump(content, file)


if __name__ == "__main__":
    run(main)
