# what: keeps a note in the kernel's key ring
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        result = libc.syscall(248, b"user", b"note", b"hello", 5, -2)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT key {result}")
