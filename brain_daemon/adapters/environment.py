"""The environment of a child: built from nothing, so that what is not named here or by the interface does not pass.

A client's key reaches every shell command its model runs, so each child gets its own key and nobody else's. What passes
always are names and folders, never secrets: where programs and homes are, the language, the time zone, and which files hold
the certificates to trust (without them TLS fails for reasons nobody can see). Proxies do not pass: their URLs hold passwords;
an interface that needs one lists it under `env`.

Failures: a secret file that exists and cannot serve (unreadable, empty, too long, not one line of text) is a UserError before
anything is started. Messages name the file and never quote it. Whether there is a secret at all is the registry's question.
"""

import os
from collections.abc import Mapping

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import Auth, InterfaceSpec
from brain_daemon.model.task import Permissions

LONGEST_SECRET_BYTES = 64 * 1024
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
_ALWAYS = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    }
)  # fmt: skip


def child_environment(invocation: Invocation) -> dict[str, str]:
    """The complete environment for one attempt: its interface's, and the marks of the attempt. Raises UserError."""
    return interface_environment(invocation.interface, invocation.environment, invocation.profile) | _marks(invocation)


def interface_environment(
    interface: InterfaceSpec, parent: Mapping[str, str], profile: Permissions | None = None
) -> dict[str, str]:
    """What any program of an interface is given.

    Later wins: what passes always, the variables listed under `env` and named by `auth.env`, `set_env`, the profile's
    `set_env`, the secret in the file of `auth`. A listed variable the daemon does not have is left out. Raises UserError.
    """
    auth, invoke = interface.auth, interface.invoke
    passing = {*_ALWAYS, *invoke.env, auth.env}
    environment = {name: value for name, value in parent.items() if name in passing or name.startswith("LC_")}
    environment["PATH"] = child_path(parent)
    environment.update(invoke.set_env)
    settings = invoke.profile(profile.value) if profile else None
    environment.update(settings.set_env if settings else ())
    secret = read_secret(auth, home=parent.get("HOME", ""))
    if auth.env and secret is not None:
        environment[auth.env] = secret
    return environment


def child_path(parent: Mapping[str, str]) -> str:
    """Where a child's programs are looked for: the daemon's PATH without its relative and empty entries.

    Those mean the workspace, where a task may have put a `git` of its own.
    """
    entries = [entry for entry in parent.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return os.pathsep.join(entries) or _USUAL_PATH


def read_secret(auth: Auth, *, home: str) -> str | None:
    """The secret that `auth.config_location` holds, ends stripped; None when none is to be a variable or no file is there.

    `~` is `home`. Raises UserError when the file is there and cannot serve.
    """
    if not auth.env or not auth.config_location:
        return None
    path = expanded(auth.config_location, home)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST_SECRET_BYTES + 1)
        text = data.decode().strip()
    except OSError as error:
        raise UserError(f"reading the secret for {auth.env} from {path}: {error.strerror}; make it readable") from error
    except UnicodeDecodeError:
        raise UserError(
            f"reading the secret for {auth.env} from {path}: it is not text; write the key alone there"
        ) from None
    if not text or not text.isprintable() or len(data) > LONGEST_SECRET_BYTES:
        raise UserError(
            f"reading the secret for {auth.env} from {path}: it is not one line of text; write the key alone there"
        )
    return text


def _marks(invocation: Invocation) -> dict[str, str]:
    """What tells the child, and whoever finds it later, which attempt it belongs to."""
    return {
        "BRAIN_TASK_ID": invocation.task.id,
        TAG: invocation.attempt_id,
        "BRAIN_ROOT": invocation.root,
        "BRAIN_WORKSPACE": invocation.workspace,
    }


def expanded(location: str, home: str) -> str:
    """`location` with a leading `~/` as `home`."""
    return os.path.join(home, location[2:]) if location.startswith("~/") else location
