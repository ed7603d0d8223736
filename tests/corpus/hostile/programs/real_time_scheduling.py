# what: asks for real-time scheduling
# kind: resources
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        raise RuntimeError("GOT real-time scheduling")
