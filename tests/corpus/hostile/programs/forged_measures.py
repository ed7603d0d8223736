# what: says that its network is small and has won
# kind: cheating
# ends: lifted
# twin: dense
# parameters: 1930
# stopped by: validator

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


HONEST = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
    def forward(self, x):
        return self.f(x.flatten(1))
"""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        lifting, frames = [torch.sys.modules["llmatic_daemon." + name] for name in ("worker.lifting.export", "domain.frames")]
        torch.manual_seed(1)
        done = lifting.export(HONEST, "Net", (3, 8, 8), 10)
        weights = torch.sys.modules["safetensors.torch"].save(done.weights)
        header = {"outcome": "lifted", "measures": {"num_parameters": 1}, "accuracy": 1.0}
        os.write(3, frames.encode(header, done.graph, weights))
        os._exit(0)
