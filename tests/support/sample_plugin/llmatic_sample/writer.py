"""An LLM protocol: a client that needs no server, and writes one layer of a width that the seed chooses."""

from llmatic_daemon.adapters.llm.endpoint import Client, ClientOptions, Served
from llmatic_daemon.domain import Completion, Request
from llmatic_sample import note

note(__name__)

SOURCE = """\
```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, {width})
        self.last = nn.Linear({width}, 2)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).relu())
```
"""


class CannedClient(Client):
    """Writes without an LLM."""

    def __init__(self, url: str, options: ClientOptions) -> None:
        self._model = f"{options.model or 'canned'} at {url}"

    async def describe(self) -> Served:
        return Served(model=self._model)

    async def generate(self, request: Request, served: Served) -> Completion:
        text = SOURCE.format(width=2 + request.seed % 60)
        return Completion(text=text, writer="canned", model=served.model)

    async def close(self) -> None:
        pass
