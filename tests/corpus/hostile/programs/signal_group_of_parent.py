# what: stops the warm parent's whole group
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.killpg(os.getpgid(os.getppid()), 0)
        raise RuntimeError("GOT its group")
