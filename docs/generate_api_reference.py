"""Generate the reference of the HTTP API and of the Python API from the code, for the site (hooks.py)."""

import re
from inspect import getdoc, getsource
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any

from generate_reference import table

from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.prediction import Detector, FacePrediction, PersonPrediction, Prediction
from explain_deepfakes.preprocessing.video.video import ReadingParams
from explain_deepfakes.serving.api.jobs import JobStore
from explain_deepfakes.serving.api.server import create_app
from explain_deepfakes.serving.api.state import ServerParams

HTTP_API_INTRO = """# HTTP API

A running server describes this API in `/openapi.json`. [The server](../serving.md) has examples with curl. Every error is an
`application/problem+json` document, whose `detail` says what is wrong. The result of a job or picture is
[the evidence record](../file-formats.md#evidence)."""
PYTHON_API_INTRO = """# Python API

The classes are in the package `explain_deepfakes`. They use the code of the pipeline, so the numbers are the same.

```python
from explain_deepfakes import Detector

prediction = Detector.load().predict("interview.mp4")
print(prediction.verdict, prediction.fake_probability)
```"""
FIELD = re.compile(r"^    ([a-z]\w*): ([^=#\n]+?)(?: = .+?)?(?:  # (.*))?$", re.MULTILINE)  # of a dataclass, with its comment


def http_api_page() -> str:
    params, reading = load_params("serve", ServerParams), load_params("read_video", ReadingParams)
    with TemporaryDirectory() as folder:
        store = JobStore(Path(folder), params.keep_minutes)
        document = create_app(params, reading, Path(), store).openapi()
        store.close()
    parts = [HTTP_API_INTRO]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parameters = route.get("parameters", [])
            rows = [(f"`{it['name']}`", it["in"], it["description"]) for it in parameters if "description" in it]
            rows += [("", "body", route["requestBody"]["description"])] if "requestBody" in route else []
            status, answer = next(iter(route["responses"].items()))  # the others are errors
            documents = [type_of(body["schema"]) for body in answer.get("content", {}).values() if body.get("schema")]
            parts += [f"## {method.upper()} {path}", f"{route['summary']}. Answer: {' '.join([status, *documents])}."]
            parts += [table("parameter", "in", "meaning", rows=rows)] if rows else []
    for name, schema in document["components"]["schemas"].items():
        rows = [(f"`{key}`", type_of(field), field.get("description", "")) for key, field in schema["properties"].items()]
        parts += [f"## {name}", table("field", "type", "meaning", rows=rows)]
    return "\n\n".join(parts) + "\n"


def type_of(schema: dict[str, Any]) -> str:
    """The type of a JSON value, with links to the documents."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(type_of, schema["anyOf"]))
    if schema["type"] == "array":
        return f"list of {type_of(schema['items'])}"
    return ", ".join(schema.get("enum", [schema["type"]]))


def python_api_page() -> str:
    parts = [PYTHON_API_INTRO]
    for documented in (Detector, Prediction, PersonPrediction, FacePrediction):
        rows = [(f"`{name}`", f"`{kind}`", comment) for name, kind, comment in FIELD.findall(getsource(documented))]
        parts += [f"## {documented.__name__}", getdoc(documented) or ""]
        parts += [table("field", "type", "meaning", rows=rows)] if documented is not Detector else []
        for name, member in vars(documented).items():
            if isinstance(member, FunctionType | classmethod) and not name.startswith("_"):
                parts.append(f"::: {documented.__module__}.{documented.__name__}.{name}")  # mkdocstrings replaces this line
    return "\n\n".join(parts) + "\n"
