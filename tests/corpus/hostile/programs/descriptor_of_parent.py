# what: takes a descriptor from the warm parent
# kind: escape
# ends: lift_failed or sandbox
# stopped by: user landlock seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        process = torch.os.pidfd_open(torch.os.getppid())
        for number in range(3, 20):
            result = libc.syscall(438, process, number, 0)
            if result >= 0 or torch.ctypes.get_errno() != 9:
                break
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT the parent's descriptor {number}")
