# what: opens the shared memory of another process by its name
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock

import torch
from torch import nn

shared = __import__("_posixshmem")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        memory = shared.shm_open("/" + VICTIM["shared"], 0)
        raise RuntimeError(f"GOT {torch.os.read(memory, 16)}")
