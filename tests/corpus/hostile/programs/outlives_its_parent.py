# what: asks not to be killed with its parent, and forks
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        libc.prctl(1, 0)
        if torch.os.fork() == 0:
            __import__("time").sleep(600)
        raise RuntimeError("GOT an orphan")
