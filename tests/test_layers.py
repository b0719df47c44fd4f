"""Imports go one way: BWCluster -> serving -> explain_model -> model_test_train -> preprocessing -> pipeline."""

import ast
from pathlib import Path

import pytest

from pipeline.provenance import code_of, code_revision
from pipeline.stage_code import code_listed, code_needed, code_of_script

ROOT = Path(__file__).parents[1]
LAYERS = ["pipeline", "preprocessing", "model_test_train", "explain_model", "serving", "BWCluster"]
FILES = [path.relative_to(ROOT) for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imported(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file: Path) -> None:
    layers = imported(ast.parse((ROOT / file).read_text())) & set(LAYERS)
    assert all(LAYERS.index(layer) <= LAYERS.index(file.parts[0]) for layer in layers)


def test_the_check_sees_an_import_that_points_up() -> None:
    assert imported(ast.parse("import json\nfrom serving.predict import Examiner")) == {"json", "serving"}


def test_every_stage_runs_a_script_and_lists_it_as_a_dependency() -> None:
    import yaml

    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        script = stage["cmd"].split()[1]
        assert (ROOT / script).is_file(), name
        assert script in stage["deps"], name


def test_a_change_of_any_code_that_a_stage_runs_makes_it_run_again() -> None:
    import yaml

    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        assert code_listed(stage) == code_needed(stage), f"{name}: run python -m pipeline.stage_code --write"


def test_the_code_of_a_stage_is_found_through_imports_and_through_names_of_modules() -> None:
    code = code_of_script("preprocessing/detect_faces.py")
    assert {"preprocessing/detect_faces.py", "preprocessing/faces/tracks.py", "preprocessing/video/pyav_reader.py"} <= code
    assert "pipeline/index.py" in code
    assert not any(file.startswith(("model_test_train/", "pipeline/progress")) for file in code)


def test_the_code_revision_is_that_of_the_code_which_makes_the_stage_run_again() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in code_of("train")}
    assert {"model_test_train/train_model.py", "model_test_train/networks/heads.py"} <= files
    assert not any(file.startswith(("data/", "explain_model/", "tests/")) for file in files)
    assert code_revision("train") == code_revision("train") != code_revision("explain")
