"""Serve the web page: a prior radiograph and a description in, counterfactuals, maps and judges' scores out.

The page is served on this machine only (127.0.0.1) unless --host is given. It has no encryption, and asks for a
password only with --password-file. It contacts no other server; uploads are read in memory and discarded after the
answer.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.arguments import add_detail_argument, add_sampling_arguments, counterfactual_model, warn
from biomedjourney_monai.errors import BiomedJourneyError

if TYPE_CHECKING:
    from biomedjourney_monai.clinic.web.login import Logins
    from biomedjourney_monai.clinic.web.server import WebServer

EXAMPLE = (
    "biomedjourney app --port 7860\n  biomedjourney app --port 0 --waiting 8 --time-limit 300\n"
    "  biomedjourney app --password-file users --add-user ana\n  biomedjourney app --password-file users"
)
LOG_LEVELS = ("debug", "info", "warning", "error")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    page = parser.add_argument_group("the page")
    page.add_argument("--host", default="127.0.0.1", metavar="NAME", help="address to serve at (default: 127.0.0.1)")
    page.add_argument("--port", type=int, default=7860, metavar="N", help="0 takes a free one (default: 7860)")
    page.add_argument(
        "--name", action="append", metavar="NAME", help="host name under which a proxy on this machine serves the page"
    )
    page.add_argument("--password-file", metavar="FILE", help="ask for a name and password of this file (hashed)")
    page.add_argument(
        "--add-user", metavar="NAME", help="read a password, write it hashed to --password-file, and serve nothing"
    )
    page.add_argument("--waiting", type=int, default=4, metavar="N", help="requests at a time (default: 4)")
    page.add_argument("--time-limit", type=float, default=600, metavar="S", help="seconds for one (default: 600)")
    page.add_argument("--log-level", choices=LOG_LEVELS, default="warning", help="(default: warning)")
    add_detail_argument(page)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    if arguments.waiting < 1:
        raise BiomedJourneyError("--waiting must be >= 1", found=str(arguments.waiting))
    if not arguments.time_limit > 0:
        raise BiomedJourneyError("--time-limit must be > 0", found=str(arguments.time_limit))
    if arguments.add_user is not None:
        _add_user(arguments)
        return
    logins = _read_logins(arguments)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    listening = listen(arguments.host, arguments.port)
    with listening:
        address, port = listening.getsockname()[:2]
        if not is_loopback(address):
            warn(_exposed(arguments.host, has_password=logins is not None))
        server = make_server(arguments, loopback=is_loopback(address), logins=logins)
        listening.listen()  # who follows the address at once waits, and is not refused
        shown = f"[{address}]" if ":" in address else address
        print(f"the page is at http://{shown}:{port}/ (Ctrl-C ends it)", flush=True)
        serve(server, listening, arguments.log_level)


def _exposed(host: str, *, has_password: bool) -> str:
    if has_password:
        return (
            f"--host {host} lets others reach this page, which has no encryption: passwords and images can be read in"
            " transit. Put a server with encryption in front of it."
        )
    return (
        f"--host {host} lets others reach this page, which has no password and no encryption: anyone who can reach it"
        " can use it. Put a server with both in front of it."
    )


def _read_logins(arguments: argparse.Namespace) -> Logins | None:
    if arguments.password_file is None:
        return None
    from biomedjourney_monai.clinic.web.login import Logins

    return Logins(arguments.password_file)


def _add_user(arguments: argparse.Namespace) -> None:
    from biomedjourney_monai.clinic.web.login import add_user

    if arguments.password_file is None:
        raise BiomedJourneyError("--add-user needs a file", found="none", action="Pass --password-file FILE")
    if sys.stdin.isatty():
        from getpass import getpass

        password = getpass("password: ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    add_user(arguments.password_file, arguments.add_user, password)
    print("wrote the user's hashed password")


def listen(host: str, port: int) -> socket.socket:
    """Bind the address, before the model is loaded.

    Raises:
        BiomedJourneyError: if it cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        rule, reason = "--host and --port must name an address that is free", getattr(error, "strerror", None)
        raise BiomedJourneyError(rule, found=reason or type(error).__name__, action="Pass another --port") from error
    return listening


def is_loopback(address: str) -> bool:
    """Whether an address is reachable from this machine only."""
    import ipaddress

    return ipaddress.ip_address(address.split("%")[0]).is_loopback


def make_server(arguments: argparse.Namespace, *, loopback: bool, logins: Logins | None = None) -> WebServer:
    """Load the model and build the page's server."""
    model = counterfactual_model(arguments)
    from biomedjourney_monai.clinic.web.server import LOOPBACK_NAMES, WebServer
    from biomedjourney_monai.clinic.web.service import WebService

    return WebServer(
        WebService(model, seed=arguments.seed),
        waiting=arguments.waiting,
        seconds=arguments.time_limit,
        logins=logins,
        host_names=(*LOOPBACK_NAMES, *(arguments.name or ())) if loopback else None,
    )


def serve(server: WebServer, listening: socket.socket, log_level: str) -> None:
    """Serve until interrupted."""
    from uvicorn import Config, Server

    from biomedjourney_monai.clinic.web.server import LimitedConnection

    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
    options |= {"http": LimitedConnection, "ws": "none", "lifespan": "off"}
    options |= {"timeout_keep_alive": 10, "timeout_graceful_shutdown": 3}
    Server(Config(server.app(), log_level=log_level, **options)).run(sockets=[listening])
