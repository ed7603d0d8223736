# what: forks by the numbers of the x32 calls
# kind: escape
# ends: lift_failed or sandbox
# unproven: few kernels have these calls
# stopped by: seccomp rlimits+user

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        child = libc.syscall(0x40000000 | 57)
        if child == 0:
            torch.os._exit(0)
        if child < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT process {child}")
