"""Types and ranges that many settings share."""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Scalar = bool | int | float | str
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]  # part of names of files, stages and git refs
