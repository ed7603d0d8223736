# what: opens the shared memory of another process by its name
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock

import torch
from torch import nn

shared = __import__("multiprocessing.shared_memory").shared_memory


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        memory = shared.SharedMemory(VICTIM["shared"])
        raise RuntimeError(f"GOT {bytes(memory.buf[:16])}")
