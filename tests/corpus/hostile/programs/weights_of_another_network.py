# what: writes a graph with weights that are not its own
# kind: cheating
# ends: invalid_graph
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
        os.write(3, frames.encode({}, done.graph, weights[:-4] + bytes(8)))
        os._exit(0)
