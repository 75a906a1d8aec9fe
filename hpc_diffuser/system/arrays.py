"""Names for arrays by the kind of number that they hold, for annotations; a view of one.

Of either precision: what a function needs of it, and the shape, its docstring says.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]
Integers = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]
Names = NDArray[np.str_]


def read_only(array: Floats) -> Floats:
    """The same numbers, which may not be written."""
    view = array.view()
    view.flags.writeable = False
    return view
