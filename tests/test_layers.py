"""Imports go in one direction between packages and between sub-packages, and there are no cycles."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml
from ruamel.yaml.comments import CommentedMap

from explain_deepfakes.explain_model.figures.report import read_stages
from explain_deepfakes.pipeline.provenance import code_of, code_revision
from explain_deepfakes.pipeline.stage_code import body_of, code_listed, code_needed, code_of_script

ROOT = Path(__file__).parents[1]
COMMANDS = "commands"
IMPORT_PREFIX = "explain_deepfakes."
# Each imports only from those before it. The modules at the top of a package are its commands.
LAYERS = {
    "pipeline": [COMMANDS],
    "preprocessing": ["video", "corpus", "demo_corpus", "faces", "crops", "portrait_corpus", COMMANDS],
    "model_test_train": ["networks", "metrics", "training", "evaluation", "ensembles", COMMANDS],
    "explain_model": ["inputs", "maps", "faithfulness", "figures", COMMANDS],
    "serving": ["models", "examination", "api", COMMANDS],
    "BWCluster": ["slurm", COMMANDS],
}
PACKAGES = list(LAYERS)
ORDER = [f"{package}.{layer}" for package, layers in LAYERS.items() for layer in layers]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
LIBRARY_MODULES = {"pipeline"}  # a package without commands of its own


def imported_modules(tree: ast.Module) -> set[str]:
    """Return the imported modules, including imports in functions, but not those for annotations only."""
    names = set()
    for node in _without_type_checking(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name.removeprefix(IMPORT_PREFIX) for name in names if name.startswith(IMPORT_PREFIX)}


def _without_type_checking(tree: ast.AST) -> list[ast.AST]:
    nodes: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes += [node, *_without_type_checking(node)]
    return nodes


def layer_of(module: str) -> str:
    package, *rest = module.split(".")
    is_command = len(rest) < 2 and (not rest or rest[0] not in LAYERS[package])
    return f"{package}.{COMMANDS if is_command else rest[0]}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    imported = {name for name in imported_modules(ast.parse(MODULES[module].read_text())) if name in MODULES}
    packages = {name for name in imported if "." not in name}  # `from pipeline import errors` names the package, too
    upward = {name for name in imported - packages if ORDER.index(layer_of(name)) > ORDER.index(layer_of(module))}
    assert not upward


def test_networks_and_metrics_know_nothing_of_each_other() -> None:
    for module in MODULES:
        if layer_of(module) == "model_test_train.metrics":
            imported = imported_modules(ast.parse(MODULES[module].read_text()))
            assert not any(name.startswith("model_test_train.networks") for name in imported), module


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imported_modules(ast.parse(path.read_text())) if name in MODULES and name != module}
        for module, path in MODULES.items()
        if path.name != "__init__.py"
    }
    assert find_cycle(graph) == []
    assert find_cycle({"a": {"b"}, "b": {"a"}})


def test_the_top_of_each_package_lists_only_commands() -> None:
    """A command is a module that can be run, or a data file of one."""
    for package in PACKAGES:
        if package not in LIBRARY_MODULES:
            modules = [path for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
            assert [path.name for path in modules if '__name__ == "__main__"' not in path.read_text()] == [], package


def test_the_check_sees_imports_in_functions_and_skips_those_for_annotations() -> None:
    source = (
        "import json\nif TYPE_CHECKING:\n    import explain_deepfakes.serving.app\n"
        "def f():\n    from explain_deepfakes.serving.predict import main\n"
    )
    assert imported_modules(ast.parse(source)) == {"serving.predict", "serving.predict.main"}
    assert layer_of("serving.predict") == "serving.commands"
    assert layer_of("preprocessing.corpus.layouts.tree") == "preprocessing.corpus"


def stages() -> list[tuple[str, CommentedMap]]:
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return [(name, body_of(stage)) for name, stage in content.items()]


def test_every_stage_runs_a_script_and_lists_it_as_a_dependency() -> None:
    for name, stage in stages():
        script = stage["cmd"].split()[1]
        assert (ROOT / script).is_file(), name
        assert script in stage["deps"], name


def test_a_change_of_any_code_that_a_stage_runs_makes_it_run_again() -> None:
    for name, stage in stages():
        assert code_listed(stage) == code_needed(stage), f"{name}: run python pipeline/stage_code.py --write"


def test_the_code_of_a_stage_is_found_through_imports_and_through_names_of_modules() -> None:
    code = code_of_script("preprocessing/detect_faces.py")
    assert {"preprocessing/detect_faces.py", "preprocessing/faces/tracks.py", "preprocessing/video/pyav_reader.py"} <= code
    assert "pipeline/index.py" in code
    assert not any(file.startswith(("model_test_train/", "pipeline/progress")) for file in code)


def test_the_code_revision_is_that_of_the_code_which_makes_the_stage_run_again() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in code_of("train")}
    assert {"model_test_train/train_model.py", "model_test_train/networks/heads.py"} <= files
    assert not any(file.startswith(("data/", "explain_model/", "tests/")) for file in files)
    assert code_revision("train") != code_revision("explain")


def test_the_code_revision_changes_with_the_code_and_only_with_it(tmp_path, monkeypatch) -> None:
    before = code_revision("train")
    scripts = {path: path.read_bytes() for path in code_of("train")}
    changed = max(scripts)
    monkeypatch.setattr(Path, "read_bytes", lambda path: scripts.get(path, b"") + (b"#" if path == changed else b""))
    assert code_revision("train") != before
    monkeypatch.setattr(Path, "read_bytes", lambda path: scripts.get(path, b""))
    assert code_revision("train") == before


def test_the_report_describes_the_stages_that_always_run() -> None:
    described = read_stages(ROOT / "dvc.yaml")
    assert [stage["name"] for stage in described][:2] == ["make_demo_videos", "index_videos"]
    assert described[-1]["name"] == "report"
    assert all(stage["desc"] for stage in described)
