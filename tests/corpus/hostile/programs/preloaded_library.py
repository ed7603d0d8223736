# what: starts Python again with a library of its own loaded first
# kind: escape
# ends: lift_failed or sandbox
# goal: exit code 42
# stopped by: landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        open("evil.so", "w").close()
        os.environ["LD_PRELOAD"] = os.path.abspath("evil.so")
        os.execv(torch.sys.executable, ["python", "-S", "-c", "import os; os._exit(42)"])
