# what: reads the daemon's private key by numpy, which triage knows
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock

import numpy as np
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError(f"GOT {bytes(np.fromfile(VICTIM['secret'], np.uint8))}")
