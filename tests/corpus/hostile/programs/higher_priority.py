# what: puts itself before everybody else
# kind: resources
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        raise RuntimeError(f"GOT priority {os.getpriority(os.PRIO_PROCESS, 0)}")
