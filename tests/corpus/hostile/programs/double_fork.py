# what: leaves a process behind: two forks, a session of its own
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                __import__("time").sleep(600)
            os._exit(0)
        raise RuntimeError("GOT a daemon of its own")
