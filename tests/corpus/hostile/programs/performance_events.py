# what: counts events of the whole machine
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        event = torch.ctypes.create_string_buffer((1).to_bytes(4, "little") + (112).to_bytes(4, "little"), 112)
        result = libc.syscall(298, event, -1, 0, -1, 0)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT event {result}")
