# what: makes a user namespace, in which it is root
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        result = libc.unshare(0x10000000)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError("GOT a namespace")
