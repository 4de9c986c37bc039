"""Which storage account: its endpoint and credentials, from Azure's own places and from nowhere else.

A profile of HugeSync's configuration file, else ``AZURE_STORAGE_CONNECTION_STRING``, else ``AZURE_STORAGE_ACCOUNT`` with
``AZURE_STORAGE_KEY`` or ``AZURE_STORAGE_SAS_TOKEN``, else with the identity of this machine or person where the package
azure-identity is installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hugesync_tasks.errors import BadCredentials

PROFILE_KEYS = frozenset({"connection_string", "account", "key", "sas_token", "endpoint"})

# What Microsoft publishes for its emulator: no secret.
_DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_DEVELOPMENT = {
    "AccountName": "devstoreaccount1",
    "AccountKey": _DEVELOPMENT_KEY,
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_CLOUDS = (".blob.core.windows.net", ".blob.storage.azure.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """One of ``key``, ``sas`` and ``token`` (a TokenCredential) is set. ``endpoint``: a URL without a slash at its end, and without
    a credential: it is told to people and travels with jobs. Equal ones are one account with one right to it, but that two
    ``token`` cannot be compared."""

    name: str
    endpoint: str
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)
    token: Any = field(default=None, repr=False, compare=False)

    @property
    def is_azure(self) -> bool:
        """Microsoft's own service, whose behaviour is documented and not probed."""
        host = self.endpoint.partition("://")[2].partition("/")[0].partition(":")[0].lower()
        return host.endswith(_CLOUDS)

    def credential(self) -> Any:
        """As the SDK wants it."""
        from azure.core.credentials import AzureSasCredential

        if self.key:
            return {"account_name": self.name, "account_key": self.key}
        return AzureSasCredential(self.sas) if self.sas else self.token


def account_of(given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Account:
    """``given``: of a profile (keys connection_string, account, key, sas_token, endpoint); empty = the environment decides.
    Raises BadCredentials where no account or no credential is named."""
    env = os.environ if environment is None else environment
    said = dict(given) or {
        "connection_string": env.get("AZURE_STORAGE_CONNECTION_STRING", ""),
        "account": env.get("AZURE_STORAGE_ACCOUNT", ""),
        "key": env.get("AZURE_STORAGE_KEY", ""),
        "sas_token": env.get("AZURE_STORAGE_SAS_TOKEN", ""),
    }
    parts = _parsed(said["connection_string"]) if said.get("connection_string") else {}
    name = parts.get("AccountName", said.get("account", ""))
    key = parts.get("AccountKey", "" if parts else said.get("key", ""))
    sas = parts.get("SharedAccessSignature", "" if parts else said.get("sas_token", ""))
    endpoint = bare(said.get("endpoint", ""), "endpoint") or bare(parts.get("BlobEndpoint", ""), "BlobEndpoint")
    endpoint = endpoint or _endpoint(name, parts)
    if not endpoint or not (name or sas):
        raise BadCredentials("no storage account was named for Azure (AZURE_STORAGE_CONNECTION_STRING or _ACCOUNT)")
    token = None if key or sas else _identity()
    return Account(name or _first_label(endpoint), endpoint, key, "" if key else sas.lstrip("?"), token)


def bare(url: str, named: str) -> str:
    """``url`` without a slash at its end. Raises BadCredentials, which quotes nothing, where it may hold a credential."""
    if "?" in url or "#" in url or "@" in url.partition("://")[2].partition("/")[0]:
        raise BadCredentials(
            f"{named} must be a URL alone, without a query or user info: a shared access signature is sas_token, "
            "AZURE_STORAGE_SAS_TOKEN, or SharedAccessSignature in a connection string"
        )
    return url.rstrip("/")


def _parsed(text: str) -> dict[str, str]:
    """A connection string. Never quoted in an error: it holds the key."""
    pairs = dict(piece.partition("=")[::2] for piece in text.strip().split(";") if piece.strip())
    if pairs.get("UseDevelopmentStorage", "").lower() == "true":
        return _DEVELOPMENT
    if not pairs.get("AccountName") and not pairs.get("BlobEndpoint"):
        raise BadCredentials("the connection string names no account (AccountName) and no BlobEndpoint")
    return pairs


def _endpoint(name: str, parts: Mapping[str, str]) -> str:
    if not name:
        return ""
    protocol = parts.get("DefaultEndpointsProtocol", "https")
    return f"{protocol}://{name}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"


def _first_label(endpoint: str) -> str:
    return endpoint.partition("://")[2].partition(".")[0]


def _identity() -> Any:
    """The identity of this machine or person, where azure-identity is installed: it is no dependency of ours."""
    try:
        from azure.identity import DefaultAzureCredential  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise BadCredentials(
            "no credentials were found for Azure (AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN; azure-identity is not installed)"
        ) from None
    return DefaultAzureCredential()
