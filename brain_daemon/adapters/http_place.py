"""Where the server of an interface is, and what a look tells of it without a request: the registry asks at every scan."""

import importlib.util
import socket
import urllib.parse
from collections.abc import Mapping
from ipaddress import ip_address

from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import Endpoint, HttpProtocol, InterfaceSpec

_LOOPBACK_SECONDS = 0.2
_PORTS = {"http": 80, "https": 443}


def base_url_of(endpoint: Endpoint, environment: Mapping[str, str]) -> str:
    """The address, with the /v1 that people leave out where the protocol's servers have it."""
    name = endpoint.base_url_env
    url = (environment.get(name, "").strip() if name else "") or endpoint.base_url
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"the variable {name} holds no address of a server: it begins with http:// or https://")
    url = url.rstrip("/")
    bare = not parts.path.strip("/")
    return f"{url}/v1" if bare and endpoint.protocol is HttpProtocol.OPENAI else url


def missing_extra(spec: InterfaceSpec) -> str:
    """What to install for an interface of the kind `http`; empty where all is there. Nothing is imported for the answer."""
    endpoint = spec.invoke.endpoint
    if endpoint is None or importlib.util.find_spec(endpoint.protocol.value) is not None:
        return ""
    name = endpoint.protocol.value
    return f"it needs the Python package {name}: `pip install 'brain-daemon[{name}]'`"


def nobody_listens(spec: InterfaceSpec, environment: Mapping[str, str]) -> str:
    """Why a server on this machine cannot be called: nobody is there. Empty for one that is, or is on another machine.

    On loopback the answer comes at once, so this may be asked at every scan, as one asks whether a program is on PATH.
    """
    endpoint = spec.invoke.endpoint
    try:
        base_url = base_url_of(endpoint, environment) if endpoint is not None else ""
    except UserError as error:
        return str(error)
    if not is_loopback(base_url):
        return ""
    parts = urllib.parse.urlsplit(base_url)
    try:
        socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), _LOOPBACK_SECONDS).close()
    except OSError:
        return f"nobody listens at {base_url}: start the server, or correct `invoke.base_url`"
    return ""


def is_loopback(url: str) -> bool:
    """Whether a URL points to this machine, by its name alone: no name is looked up."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
