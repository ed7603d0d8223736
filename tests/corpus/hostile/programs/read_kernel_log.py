# what: reads the kernel's log
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/dev/kmsg", "rb", buffering=0) as file:
            raise RuntimeError(f"GOT {file.read(8192)}"[:99])
