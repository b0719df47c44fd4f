"""The identity of the model that a server uses."""

from typing import TypedDict


class ModelIdentity(TypedDict):
    model: str
    sha256: str
    warning: str | None  # to show with every verdict
    refusal: str | None  # why it gives no verdicts


class ServerVersion(TypedDict, total=False):
    """The answer to GET /version: without the fields of ModelIdentity until the first model is loaded."""

    model: str
    sha256: str
    warning: str | None
    refusal: str | None
    code: str
    refused: str | None  # why the checkpoint at the server's model path cannot be loaded
