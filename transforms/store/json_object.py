"""JSON objects from files that others may have written or damaged."""

from __future__ import annotations

import json
from typing import Any

from transforms.core.errors import UsageError


def read_object(data: str | bytes) -> dict[str, Any]:
    """Returns the JSON object that is all of `data`.

    Raises:
        UsageError: it is none; the message says what it is instead, as it follows a name and a colon.
    """
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise UsageError("not JSON: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"not JSON: not UTF-8 text (at byte {error.start:,})") from error
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"not a JSON object, but {_KINDS.get(type(content), 'a number')}")
    return content


_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
