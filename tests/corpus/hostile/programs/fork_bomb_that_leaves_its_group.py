# what: doubles its processes six times, each the leader of a group of its own
# kind: resources
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        first = torch.os.getpid()
        for _ in range(6):
            if torch.os.fork() == 0:
                torch.os.setpgid(0, 0)
        if torch.os.getpid() == first:
            raise RuntimeError("GOT 64 processes")
        __import__("time").sleep(600)
