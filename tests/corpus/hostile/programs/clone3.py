# what: forks by clone3, which a filter of arguments cannot look into
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        arguments = (torch.ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)
        child = libc.syscall(435, arguments, 88)
        if child == 0:
            torch.os._exit(0)
        if child < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT process {child}")
