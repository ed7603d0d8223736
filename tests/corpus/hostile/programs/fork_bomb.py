# what: forks a hundred processes that stay
# kind: resources
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for _ in range(100):
            if torch.os.fork() == 0:
                __import__("time").sleep(600)
        raise RuntimeError("GOT 100 processes")
