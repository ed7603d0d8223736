# what: kills the warm parent, so that the candidate's failure looks like ours
# kind: escape
# ends: lift_failed or sandbox
# goal: error: 
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.kill(torch.os.getppid(), 9)
        __import__("time").sleep(600)
