# what: signals everybody; the signal is 0, so that nobody is hurt when it succeeds
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.kill(-1, 0)
        raise RuntimeError("GOT everyone")
