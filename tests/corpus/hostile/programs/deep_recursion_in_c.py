# what: overflows the stack, with the interpreter's own limit lifted
# kind: resources
# ends: sandbox
# says: SIGSEGV
# violates: killed
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.sys.setrecursionlimit(1 << 30)
        nested = ()
        for _ in range(10**6):
            nested = (nested,)
        hash(nested)
