# what: stops every clock of its interpreter, then loops
# kind: resources
# ends: timeout
# stopped by: supervisor

import torch
from torch import nn

time = __import__("time")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("time", "monotonic", "perf_counter", "process_time", "sleep"):
            setattr(time, name, lambda *_: 0.0)
        while time.monotonic() < 1:
            torch.zeros(1)
