# what: mounts a file system over its own folder
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        result = libc.mount(b"tmpfs", b".", b"tmpfs", 0, None)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        libc.umount2(torch.os.getcwd().encode(), 2)
        raise RuntimeError("GOT a mount")
