"""The keys of LLM servers: from a file, systemd's credentials, or LLMATIC_LLM_TOKEN; never logged."""

import os
from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.config.settings import EndpointSettings
from llmatic_daemon.domain.errors import ConfigurationError

TOKEN = "LLMATIC_LLM_TOKEN"
#: Name of the credential for systemd's LoadCredential=.
CREDENTIAL = "llm-token"
#: ... and of the token for control over TCP, which has at least so many characters.
API_CREDENTIAL = "api-token"
MIN_TOKEN = 16


def token_of(
    name: str,
    endpoint: EndpointSettings,
    *,
    is_only: bool,
    environment: Mapping[str, str] = os.environ,
) -> str | None:
    """Find the key of an endpoint; None: it has none.

    Args:
        name: Of the endpoint, for the message.
        endpoint: Its settings.
        is_only: No other endpoint is configured. A key that does not say whose it is goes to the
            only endpoint there is, and to none of several.
        environment: Where LLMATIC_LLM_TOKEN and CREDENTIALS_DIRECTORY are looked up.

    Raises:
        ConfigurationError: the file cannot be read or is empty, or a key is there for nobody.
    """
    if endpoint.token_file:
        return _read(Path(endpoint.token_file), f"endpoint {name!r}")
    credential = Path(environment.get("CREDENTIALS_DIRECTORY", ""), CREDENTIAL)
    known = _checked(environment.get(TOKEN, "").strip(), TOKEN)
    if known is None and "CREDENTIALS_DIRECTORY" in environment and credential.exists():
        known = _read(credential, f"endpoint {name!r}")
    if known is not None and not is_only:
        raise ConfigurationError(
            f"{TOKEN} must belong to one endpoint, found several and no token_file for {name!r}; "
            f"set writer.endpoints.{name}.token_file, for /dev/null if it has no key"
        )
    return known


def api_token(token_file: str, environment: Mapping[str, str] = os.environ) -> str:
    """Find the token with which a daemon is controlled over TCP.

    Args:
        token_file: As the settings name it; empty: systemd's credential.
        environment: Where CREDENTIALS_DIRECTORY is looked up.

    Raises:
        ConfigurationError: there is none, or it is too short to hold.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY", "")
    file = Path(token_file) if token_file else Path(folder, API_CREDENTIAL)
    if not token_file and not (folder and file.exists()):
        raise ConfigurationError(
            "control.port needs a token, found none; set control.token_file, or control.port to 0"
        )
    token = _read(file, "the control port") or ""
    if len(token) < MIN_TOKEN:
        raise ConfigurationError(
            f"{file} must hold a token of at least {MIN_TOKEN} characters, found {len(token)}; "
            "'openssl rand -hex 32' makes a good one"
        )
    return token


def _read(file: Path, name: str) -> str | None:
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            f"{file} must be a readable file with the key of {name}, got: {why}"
        ) from error
    if not token and str(file) != os.devnull:
        raise ConfigurationError(f"{file} must hold the key of {name}, found nothing")
    return _checked(token, str(file))


def _checked(token: str, where: str) -> str | None:
    """Refuse what no header can hold; it is not quoted, as it may be a key all the same."""
    if any(not " " < character <= "~" for character in token):
        raise ConfigurationError(f"{where} must hold one line of printable ASCII, found more")
    return token or None
