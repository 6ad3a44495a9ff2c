"""Reading and writing tensors in the safetensors format: a length, a JSON header, and the numbers.

Format: https://github.com/huggingface/safetensors#format. Numbers are mapped from the file, not copied.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ktx.errors import ConfigError

Tensors = Mapping[str, NDArray[np.floating]]
_TYPES: Mapping[str, np.dtype[np.floating]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
_NAMES = {4: "F32", 2: "F16"}
_MAX_HEADER = 10_000_000


def read_tensors(path: Path) -> Tensors:
    """Map the tensors of a file by their names; those of another type than a float of 2 or 4 bytes are left out.

    Raises:
        ConfigError: the file is not of the format.
    """
    broken = ConfigError(
        f"`{path}` does not hold the weights of a model.", hint="ktx admin embeddings install --force"
    )
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except ValueError as error:
        raise broken from error
    size = int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or size > min(_MAX_HEADER, data.size - 8):
        raise broken
    try:
        header = cast("dict[str, dict[str, object]]", json.loads(data[8 : 8 + size].tobytes()))
        found: dict[str, NDArray[np.floating]] = {}
        for name, entry in header.items():
            kind = _TYPES.get(str(entry.get("dtype")))
            if name == "__metadata__" or kind is None:
                continue
            start, end = cast("tuple[int, int]", entry["data_offsets"])
            shape = cast("list[int]", entry["shape"])
            found[name] = data[8 + size + start : 8 + size + end].view(kind).reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken from error
    return found


def write_half(path: Path, tensors: Tensors) -> None:
    """Write tensors with 2 bytes per number."""
    header: dict[str, object] = {}
    parts: list[bytes] = []
    at = 0
    for name, tensor in tensors.items():
        data = tensor.astype(np.float16).tobytes()
        header[name] = {"dtype": _NAMES[2], "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for part in parts:
            stream.write(part)
