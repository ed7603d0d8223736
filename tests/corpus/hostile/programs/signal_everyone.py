# what: signals every process that it can guess; the signal is 0, so that nobody is hurt when it succeeds
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        refused = OSError("nobody is there")
        for number in {*range(2, 300), os.getppid()} - {os.getpid()}:
            try:
                os.kill(number, 0)
            except OSError as error:
                refused = error
                continue
            raise RuntimeError(f"GOT process {number}")
        raise refused
