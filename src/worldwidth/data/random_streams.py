"""Named random streams: the same names give the same numbers, other names independent ones."""

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of the stream ``names`` under ``seed``.

    The names are hashed with SHA-256 into the entropy of a numpy ``SeedSequence``, so that a stream
    depends on nothing but its name: not on the order of use, nor on Python's salted ``hash``.
    """
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
