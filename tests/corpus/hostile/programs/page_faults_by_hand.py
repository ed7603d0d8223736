# what: handles page faults by itself, which makes races in the kernel easy to win
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        result = libc.syscall(323, 1)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT {result}")
