"""Registries of extensions: what is shipped can be loaded; what others offer is met in processes/test_plugins."""

import pytest

from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.plugins import DATA_SETS, WRITERS, Registry
from llmatic_daemon.search.archive.measures import MEASURES


@pytest.mark.parametrize("registry", [DATA_SETS, WRITERS, MEASURES], ids=lambda registry: registry.setting)
def test_each_shipped_extension_can_be_loaded(registry: Registry[object]):
    for name in registry.ours:
        assert name in registry
        assert isinstance(registry.load(name), registry.kind)


def test_unknown_name_is_told_the_nearest():
    with pytest.raises(
        ConfigurationError, match=r"writer\.kind must .* and 'tgy' is offered by none; did you mean 'tgi'"
    ):
        WRITERS.load("tgy")


def test_names_are_listed_in_order():
    assert list(WRITERS)[:2] == ["tgi", "openai"]
    assert "tgy" not in WRITERS
