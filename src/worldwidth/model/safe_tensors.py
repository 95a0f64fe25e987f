"""Tensors on disk: safetensors files that carry the digest of their content, so that one wrong bit is found.

The format itself holds no checksum: a flipped bit in the weights gives other weights without a word.
"""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

_DIGEST = "sha256"


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write ``tensors`` (contiguous, on the CPU) and ``metadata`` with a digest of both; the same bytes every time.

    Raises:
        OSError: the file could not be written, as when the disk is full.
    """
    path.write_bytes(_with_metadata(save(tensors), metadata | {_DIGEST: tensor_digest(tensors, metadata)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata; a file that others wrote, without a digest, is taken as it is.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is cut off or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    written = metadata.pop(_DIGEST, None)
    if written and written != tensor_digest(tensors, metadata):
        raise ValueError("its content does not have the SHA-256 it was written with")
    return tensors, metadata


def _with_metadata(file: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file with metadata in its header. safetensors itself writes them in an order of chance."""
    end = 8 + int.from_bytes(file[:8], "little")
    values = {"__metadata__": dict(sorted(metadata.items())), **json.loads(file[8:end])}
    header = json.dumps(values, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors behind it stay aligned
    return len(header).to_bytes(8, "little") + header + file[end:]


def tensor_digest(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """Return the SHA-256 of names, types, shapes, values and metadata, in the order of the names."""
    digest = hashlib.sha256(repr(sorted((metadata or {}).items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
