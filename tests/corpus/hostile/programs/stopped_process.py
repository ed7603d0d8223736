# what: stops itself, so that it neither ends nor uses time
# kind: resources
# ends: timeout or sandbox or lift_failed
# stopped by: supervisor

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.kill(torch.os.getpid(), 19)
