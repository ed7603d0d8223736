# what: makes a ring by which the kernel does system calls unseen
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        parameters = torch.ctypes.create_string_buffer(120)
        result = libc.syscall(425, 4, parameters)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT ring {result}")
