"""Registries of extensions: ours, and those that other installed packages offer by entry points.

A plugin is trusted code that an administrator has installed. It is imported only when a setting names
it. The lifter, which runs the code of an LLM, imports this module nowhere.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Generic, TypeVar, cast

from llmatic_daemon.domain.errors import ConfigurationError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry(Generic[T]):
    """Extensions of one kind, by the name that a setting gives."""

    #: The setting that names one.
    setting: str
    #: Entry point group of other packages.
    group: str
    #: What is shipped: each the extension itself, or "module:attribute" to import when it is used.
    ours: Mapping[str, T | str]
    #: What an extension is an instance of.
    kind: type = Callable  # type: ignore[assignment]

    def __iter__(self) -> Iterator[str]:
        """List all names, without importing anything."""
        return iter(dict.fromkeys((*self.ours, *sorted(each.name for each in self._plugins()))))

    def __contains__(self, name: object) -> bool:
        return name in self.ours or any(each.name == name for each in self._plugins())

    def load(self, name: str) -> T:
        """Return the extension of a name, imported if need be.

        Raises:
            ConfigurationError: no package or more than one offers the name, or its module fails.
        """
        plugins = [each for each in self._plugins() if each.name == name]
        offers = [*(["llmatic-daemon"] if name in self.ours else []), *map(_package, plugins)]
        if len(offers) != 1:
            near = get_close_matches(name, list(self), 1)
            raise ConfigurationError(
                f"{self.setting} must name what one package offers as {self.group}, and {name!r} is "
                f"offered by {' and '.join(offers) or 'none'}"
                + ("; uninstall all but one" if offers else f"; did you mean {near[0]!r}?" if near else "")
            )
        ours = self.ours.get(name)
        if isinstance(ours, str):
            return cast(T, EntryPoint(name, ours, self.group).load())
        return ours if ours is not None else self._imported(plugins[0])

    def _plugins(self) -> EntryPoints:
        return _offered(self.group)

    def _imported(self, plugin: EntryPoint) -> T:
        found: Any = None
        try:
            found, why = plugin.load(), f"is not a {self.kind.__name__}"
        except (Exception, SystemExit) as error:  # the code of others: whatever it raises
            why = f"cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(found, self.kind):
            return cast(T, found)
        raise ConfigurationError(
            f"{self.setting} = {plugin.name!r} is offered by the package {_package(plugin)}, whose "
            f"{plugin.value} {why}; mend or uninstall the package, or name another {self.setting}"
        )


@cache
def _offered(group: str) -> EntryPoints:
    """Read the metadata of all installed packages, which takes some 10 ms."""
    return entry_points(group=group)


def _package(plugin: EntryPoint) -> str:
    return f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unknown package"


#: Readers of data sets, `read(source: Source) -> Raw`; the trainers import them, the daemon never does.
DATA_SETS: Registry[Callable[[Any], Any]] = Registry(
    setting="data.name",
    group="llmatic_daemon.data_sets",
    ours={
        name: f"llmatic_daemon.worker.training.dataset_readers:read_{name.replace('-', '_')}"
        for name in ("digits", "cifar10", "cifar100", "fashion-mnist", "image-folder", "npz")
    },
)
#: Clients of LLM servers, called as `client(url, options: ClientOptions)`.
WRITERS: Registry[Callable[..., Any]] = Registry(
    setting="writer.kind",
    group="llmatic_daemon.writers",
    ours={
        "tgi": "llmatic_daemon.adapters.llm.tgi_client:TGIClient",
        "openai": "llmatic_daemon.adapters.llm.openai_client:OpenAIClient",
    },
)
