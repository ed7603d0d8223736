# what: imports ctypes by another name
# kind: escape
# ends: no_class
# says: is not allowed
# stopped by: triage

import ctypes as functools

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError(f"GOT {functools.sizeof(functools.c_int)}")
