"""Checks of data that come from files: whoever made a file may have written anything."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from explain_deepfakes.pipeline.errors import UserError

Kind = TypeVar("Kind")


def parse_as(kind: type[Kind], data: object, complaint: str) -> Kind:
    """Return the data as a `TypedDict` or dataclass. `complaint` begins the error message, such as "x.json is no ensemble"."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        where = f"'{field}' is invalid" if field else "it is invalid"
        raise UserError(f"{complaint}: {where} ({first['msg']})") from error
