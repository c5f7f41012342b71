"""Arrays in, arrays out: the functions that do the arithmetic, one family a folder.

`reference.py` of each family is plain vectorised NumPy that a student can read; it is also what every faster version
of a kernel is tested against. Operators call kernels by the names that the families list in `__all__`; `dispatch.py`
says what serves each of them.
"""

from kinone.kernels.attention.reference import *
from kinone.kernels.convolution.reference import *
from kinone.kernels.dispatch import bind
from kinone.kernels.dispatch import explain as explain
from kinone.kernels.dispatch import set_threads as set_threads
from kinone.kernels.elementwise.reference import *
from kinone.kernels.factorize.reference import *
from kinone.kernels.gemm.reference import *
from kinone.kernels.index.reference import *
from kinone.kernels.loss.reference import *
from kinone.kernels.memory import memory as memory
from kinone.kernels.memory import release_memory as release_memory
from kinone.kernels.normalize.reference import *
from kinone.kernels.optimize.reference import *
from kinone.kernels.pooling.reference import *
from kinone.kernels.random.reference import *
from kinone.kernels.recurrent.reference import *
from kinone.kernels.reduction.reference import *
from kinone.kernels.resize.reference import *

bind(globals())
