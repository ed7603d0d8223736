# what: a file of 64 MiB that lies in memory and counts as nobody's address space
# kind: resources
# ends: sandbox or lift_failed
# stopped by: seccomp rlimits

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        file = os.memfd_create("giant")
        for _ in range(64):
            os.write(file, bytes(1 << 20))
        raise RuntimeError("GOT 64 MiB")
