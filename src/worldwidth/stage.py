"""What stages share: which models there are, and where things outside DVC's outs are kept."""

import os
from pathlib import Path

from worldwidth.errors import WorldwidthError, nearest
from worldwidth.matrix import Matrix


def known_model(matrix: Matrix, name: str) -> str:
    """Return ``name`` if it is a model of the matrix.

    Raises:
        WorldwidthError: it is not.
    """
    if name not in matrix.models:
        raise WorldwidthError(
            f"model '{name}': not in params.yaml; allowed: {', '.join(matrix.models)}{nearest(name, matrix.models)}"
        )
    return name


def scratch_folder() -> Path:
    """Where things outside DVC's outs are kept: below .dvc/tmp of the main checkout, also in a temporary run."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "worldwidth"
