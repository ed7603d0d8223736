# what: asks the LLM's server itself
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock seccomp

import torch
from torch import nn

client = __import__("http.client").client


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        line = client.HTTPConnection("127.0.0.1", VICTIM["port"], timeout=1)
        line.request("POST", "/v1/completions", '{"prompt": "hello"}')
        raise RuntimeError(f"GOT {line.getresponse().read(64)}")
