# what: kills a process by a descriptor for it
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        signal = __import__("signal")
        signal.pidfd_send_signal(torch.os.pidfd_open(VICTIM["pid"]), 9)
        raise RuntimeError("GOT a bystander")
