# what: runs a shell
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits+user

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        if os.system("true") != 0:
            raise OSError("no shell")
        raise RuntimeError("GOT a shell")
