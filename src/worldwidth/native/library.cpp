// The native library, as one unit: what Python calls is in the last three files, and library.py has its types.
#include "decode.hpp"
#include "optimizer.hpp"
#include "step.hpp"
