# what: makes memory that outlives its process
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        result = libc.shmget(0, 1 << 20, 0o1600)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        libc.shmctl(result, 0, None)
        raise RuntimeError(f"GOT segment {result}")
