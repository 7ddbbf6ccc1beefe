"""Runs the service until it is stopped."""

import logging
import socket
from pathlib import Path

import uvicorn

from shelfwise.indexer.errors import InputError
from shelfwise.service.app import Config, create_app
from shelfwise.service.door import Door
from shelfwise.service.guard import is_loopback
from shelfwise.service.tokens import Tokens

BACKLOG = 256  # connections that wait to be accepted
IDLE_SECONDS = 30  # until an idle connection is closed
END_SECONDS = 20  # for running requests to finish at shutdown


def serve(store: Path, host: str, port: int, token_file: Path | None, device: str, keep_days: float | None) -> None:
    """Serve a store until SIGTERM or SIGINT, keeping versions for `keep_days` days (None for ever).

    Raise ShelfwiseError when the service cannot start.
    """
    tokens = None if token_file is None else Tokens.read(token_file)
    if tokens is None and not is_loopback(host):
        raise InputError(
            "tokens_needed",
            f"address {host} can be reached from other machines",
            "a token file",
            "pass one, or listen on a loopback address",
        )
    app = create_app(Config(store, device, tokens, keep_days=keep_days))
    try:
        with socket.create_server((host, port), backlog=BACKLOG, family=_family(host)) as bound:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
            name = f"[{host}]" if ":" in host else host
            logging.getLogger("shelfwise").info("serving %s at http://%s:%d", store, name, bound.getsockname()[1])
            config = uvicorn.Config(
                app,
                http=Door,
                log_config=None,
                access_log=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=END_SECONDS,
                server_header=False,
            )
            uvicorn.Server(config).run(sockets=[bound])
    except OSError as error:
        raise InputError(
            "cannot_listen",
            f"cannot listen on {host}, port {port} ({error.strerror})",
            "a free port",
            "choose another port",
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
