"""Where a language model may run: on this machine, or elsewhere only if the user attests to zero retention."""

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from biomedjourney_monai.errors import ConfigError

ATTESTATION = (
    "The user attested that this service retains nothing that is sent to it, trains on none of it, and shows none of "
    "it to people."
)
"""The meaning of `--attest-zero-retention`: PhysioNet's conditions for third-party language models."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible service.

    Args:
        base_url: for example http://127.0.0.1:8000/v1.
        is_loopback: whether text stays on this machine.
        attested: whether the user attested to zero retention.
    """

    base_url: str
    is_loopback: bool
    attested: bool

    def provenance(self) -> dict[str, Any]:
        """The service's entry in a run's provenance."""
        host = urlsplit(self.base_url).hostname
        return {"host": host, "is_loopback": self.is_loopback, "attestation": ATTESTATION if self.attested else None}


def open_endpoint(base_url: str, *, attested: bool = False) -> Endpoint:
    """Check an address.

    Raises:
        ConfigError: if it is not an http(s) address, contains a password, is not loopback without an attestation, or
            would send text unencrypted over the network.
    """
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("--base-url must be an http or https address", action="Try http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ConfigError("--base-url must not contain a user or password", action="Put the key into the environment")
    loopback = is_loopback(host)
    if not loopback and not attested:
        raise ConfigError(
            "reports may only be sent to a language model on this machine",
            found="a host that is not loopback",
            action="Serve the model at 127.0.0.1, or, if the service retains nothing, trains on nothing and shows "
            "nothing to people, attest it with --attest-zero-retention",
        )
    if not loopback and parts.scheme != "https":
        raise ConfigError("a host that is not loopback must use https", found=parts.scheme)
    return Endpoint(base_url, loopback, attested and not loopback)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address. Of names only "localhost" counts: others can point anywhere."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
