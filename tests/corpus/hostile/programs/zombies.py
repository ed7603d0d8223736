# what: leaves twenty dead children unburied
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for _ in range(20):
            if os.fork() == 0:
                os._exit(0)
        raise RuntimeError("GOT 20 zombies")
