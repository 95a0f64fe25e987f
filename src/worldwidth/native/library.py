"""The functions of the native library and the types of their arguments; what they do stands in the .cpp files."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.model.layout import DecoderConfig
from worldwidth.model.packing import Tree
from worldwidth.native.build import build, instruction_set

_ARRAYS = ("ids", "positions", "nodes", "lengths", "shared", "queries", "sources", "targets")
_COUNTS = ("count", "lines", "longest", "predicting", "predictions")


class Sizes(ctypes.Structure):
    """``Sizes`` in model.hpp."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("vocabulary", "hidden", "inner", "layers", "heads")),
        *((name, ctypes.c_double) for name in ("epsilon", "theta")),
    )

    @classmethod
    def of(cls, config: DecoderConfig) -> "Sizes":
        """Those of a model."""
        return cls(
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.rms_norm_eps,
            config.rope_theta,
        )


class PackedTree(ctypes.Structure):
    """``Tree`` in model.hpp; valid as long as the tree that it was made of."""

    _fields_ = (*((name, ctypes.c_void_p) for name in _ARRAYS), *((name, ctypes.c_long) for name in _COUNTS))

    @classmethod
    def of(cls, tree: Tree, vocabulary: int) -> "PackedTree":
        """The addresses of a tree's arrays, and their sizes.

        Raises:
            IndexError: a token is not in the vocabulary.
        """
        largest = max(int(tree.ids.max(initial=0)), int(tree.targets.max(initial=0)))
        if largest >= vocabulary:
            raise IndexError(f"token {largest}: the model has a vocabulary of {vocabulary}")
        addresses = [address(getattr(tree, name)) for name in _ARRAYS]
        return cls(*addresses, len(tree.ids), *tree.nodes.shape, len(tree.queries), len(tree.targets))


def address(array: NDArray[Any], length: int | None = None) -> int:
    """Where the numbers of an array lie that C++ may read as one row of ``int`` or ``float``.

    Raises:
        TypeError: they do not lie so, or are not ``length`` of them.
    """
    fits = array.flags.c_contiguous and array.dtype in (np.float32, np.int32)
    if not fits or length not in (None, array.size):
        raise TypeError(f"{array.dtype}{list(array.shape)} with strides {array.strides} instead of {length} in a row")
    return array.ctypes.data


@cache
def library() -> ctypes.CDLL:
    """The native code for this machine, built if it is not there.

    Raises:
        WorldwidthError: it cannot be built.
        OSError: it cannot be loaded.
    """
    native = ctypes.CDLL(str(build(instruction_set())))
    pointer, long, float32, double = ctypes.c_void_p, ctypes.c_long, ctypes.c_float, ctypes.c_double
    sizes, tree = ctypes.POINTER(Sizes), ctypes.POINTER(PackedTree)
    for name, result, *arguments in (
        ("step_floats", long, sizes, tree),
        ("step", double, sizes, pointer, pointer, tree, double, ctypes.c_int, pointer),
        ("decode_floats", long, sizes, tree, long),
        ("decode", None, sizes, pointer, tree, long, ctypes.c_int, pointer, pointer),
        ("add_parts", double, pointer, long, long, long),
        ("adamw", None, *[pointer] * 4, long, float32, long, *[double] * 5),
        ("muon_floats", long, long, long),
        ("muon", None, *[pointer] * 3, *[long] * 3, float32, double, double, pointer),
    ):
        function = getattr(native, str(name))
        function.restype, function.argtypes = result, arguments
    return native
