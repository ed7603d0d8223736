# what: makes a node for the disk and reads it
# kind: escape
# ends: lift_failed or sandbox
# unproven: in a container not even root may open a disk
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.mknod("disk", 0o60600, os.stat("/").st_dev)
        file = os.open("disk", os.O_RDONLY)
        raise RuntimeError(f"GOT {os.read(file, 2048)[1080:1082]}")
