"""The keys of LLM servers: from a file, systemd's credentials, or LLMATIC_LLM_TOKEN; never logged."""

import os
from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.config.settings import EndpointSettings
from llmatic_daemon.domain.errors import ConfigurationError

TOKEN = "LLMATIC_LLM_TOKEN"
#: Name of the credential for systemd's LoadCredential=.
CREDENTIAL = "llm-token"
#: ... and of the token for control over TCP, which has at least MIN_TOKEN characters.
API_CREDENTIAL = "api-token"
MIN_TOKEN = 16


def token_of(
    name: str, endpoint: EndpointSettings, *, is_only: bool, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return the key of an endpoint, or None if it has none.

    Args:
        name: Of the endpoint, for the message.
        endpoint: Its settings.
        is_only: No other endpoint is configured. A key without a name is for the only endpoint, and
            for none of several.
        environment: Holds LLMATIC_LLM_TOKEN and CREDENTIALS_DIRECTORY.

    Raises:
        ConfigurationError: the file is unreadable or empty, or a key belongs to no endpoint.
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
    """Return the token that controls a daemon over TCP.

    Args:
        token_file: Of the settings; empty: systemd's credential.
        environment: Holds CREDENTIALS_DIRECTORY.

    Raises:
        ConfigurationError: there is none, or it is too short.
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
    """Reject what no header can hold. It is not quoted, because it may still be a key."""
    if any(not " " < character <= "~" for character in token):
        raise ConfigurationError(f"{where} must hold one line of printable ASCII, found more")
    return token or None
