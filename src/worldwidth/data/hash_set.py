"""Sets of 64-bit keys in numpy: which of many keys are new, asked many keys at a time."""

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


class KeySet:
    """A growing set of keys, none 0: a hash table with open addressing, at most a quarter full.

    Looking a key up costs one or two reads of memory however many there are; ``np.isin`` and ``np.union1d`` sort
    all of them again for every batch.
    """

    def __init__(self, keys: Keys, room: int = 0) -> None:
        """``keys`` may repeat; ``room``: how many more will be added at most."""
        bits = (2 * (len(keys) + room)).bit_length() + 1
        self._shift = np.uint64(64 - bits)
        self._slots = np.zeros(1 << bits, dtype=np.uint64)  # 0: free
        self.add(keys)

    def contains(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of ``keys`` are in the set."""
        return np.asarray(self._slots.take(self._find(keys)) == keys)

    def add(self, keys: Keys) -> None:
        """Put ``keys`` in; they may repeat."""
        while len(keys):
            at = self._find(keys)
            self._slots[at] = keys
            keys = keys[self._slots.take(at) != keys]  # several met in one free slot and one got it

    def _find(self, keys: Keys) -> NDArray[np.int64]:
        """The slot where each key is, or else the free one where it belongs."""
        at = (keys >> self._shift).astype(np.int64)
        held = self._slots.take(at)
        passed = np.flatnonzero((held != keys) & (held > 0))
        while len(passed):
            at[passed] = (at[passed] + 1) % len(self._slots)
            held = self._slots.take(at[passed])
            passed = passed[(held != keys[passed]) & (held > 0)]
        return at


def first_of_equal(keys: Keys) -> NDArray[np.int64]:
    """Where each different key stands first, in rising order."""
    order = np.argsort(keys)
    values = keys[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(keys)])
    return np.sort(np.minimum.reduceat(order, starts))  # the sort is not stable: it is faster so
