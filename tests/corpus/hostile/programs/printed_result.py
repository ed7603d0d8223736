# what: prints a fine result and ends well
# kind: cheating
# ends: sandbox
# says: without a result
# violates: exited
# stopped by: parser

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        print('{"outcome": "lifted", "accuracy": 1.0}', flush=True)
        os._exit(0)
