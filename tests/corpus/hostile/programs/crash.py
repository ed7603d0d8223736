# what: reads from address 0
# kind: resources
# ends: sandbox
# says: SIGSEGV
# violates: killed
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    zero = torch.ctypes.string_at(0)
