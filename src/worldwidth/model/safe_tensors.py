"""Arrays on disk, as safetensors files, and the digest of their content.

The format holds no checksum: a flipped bit in the weights gives other weights without a word. A file is read, not
mapped into memory: some network file systems cannot map, and one cut off while it is mapped kills the process.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worldwidth.core.files import read_bytes

Arrays = dict[str, NDArray[np.float32]]


def save_tensors(tensors: Arrays, path: Path, metadata: dict[str, str]) -> None:
    """Write ``tensors``, contiguous; the same bytes every time, with at most one entry of ``metadata``.

    Raises:
        OSError: the file could not be written, as when the disk is full.
    """
    path.write_bytes(save(tensors, metadata))


def load_tensors(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read the tensors and the metadata.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is cut off, or none of this format.
    """
    content = read_bytes(path)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # a length, then JSON, by the format
    return tensors, header.get("__metadata__", {})


def array_digest(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
