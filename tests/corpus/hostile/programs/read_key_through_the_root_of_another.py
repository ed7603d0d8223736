# what: reads the key through another process' view of files
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(f"/proc/{VICTIM['daemon']}/root{VICTIM['secret']}") as file:
            raise RuntimeError("GOT " + file.read())
