"""Writing several arrays as one file of numpy's."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.files import replacing


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write ``arrays`` as npz. Equal arrays give equal bytes: nothing is compressed, for what zlib makes of equal
    numbers depends on its version.

    Raises:
        OSError: it could not be written; the error names a file.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **cast(Any, arrays))
