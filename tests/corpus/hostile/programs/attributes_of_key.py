# what: writes an attribute of the key
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.setxattr(VICTIM["secret"], "user.mine", b"hello")
        raise RuntimeError("GOT an attribute")
