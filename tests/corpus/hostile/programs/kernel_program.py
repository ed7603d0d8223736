# what: loads a map for programs in the kernel
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        attributes = (torch.ctypes.c_uint32 * 16)(2, 4, 4, 1)
        result = libc.syscall(321, 0, attributes, 64)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT map {result}")
