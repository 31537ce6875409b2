"""Optuna's dashboard on a study's trials, in a browser, while the study runs or after: it looks and changes nothing.

The dashboard can rename and delete studies, and end trials. Here it is not asked to: requests that would change
something are refused, and a study folder's journal is opened for reading only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import BaseStorage, JournalStorage

from lab.errors import EngineError, RecordError, install_extra
from lab.record.folder import Record
from lab.record.journal import FollowedJournal
from lab.record.trials import storage_to_read
from lab.spec.plan import Store

_Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """Serves each request in a thread: some take seconds, as importances do."""

    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/dashboard"


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A line for every request is nobody's concern."""


def server(record: Record, store: Store | None, port: int) -> Server:
    """A server on loopback, bound and not serving yet.

    Args:
        port: 0 for any that is free.

    Raises:
        EngineError: the dashboard is not installed, or the port cannot be had.
    """
    if find_spec("optuna_dashboard") is None:
        raise EngineError(f"optuna-dashboard is not installed; {install_extra('dashboard')}")
    from optuna_dashboard import wsgi

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    app = wsgi(_storage(record, store))
    try:
        return make_server("127.0.0.1", port, _looking_only(app), server_class=Server, handler_class=_Quiet)
    except OSError as error:
        raise EngineError(f"--port: {port} cannot be had ({error.strerror}); choose another") from error


def _storage(record: Record, store: Store | None) -> BaseStorage:
    if store is None:
        return JournalStorage(FollowedJournal(record.journal_path))
    storage = storage_to_read(store, None)
    if storage is None:
        raise RecordError(f"{record.folder}: its database holds no trials yet")
    return storage


def _is_here(host: str) -> bool:
    """Whether a request was meant for this machine, by whatever port a tunnel has given it.

    A page of the web can have its own name lead to this machine, and would read the study through its visitor's
    browser, which still sends that name.
    """
    return urlsplit(f"//{host}").hostname in ("127.0.0.1", "localhost", "::1")


def _looking_only(app: _Application) -> _Application:
    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _is_here(environ.get("HTTP_HOST", "")):
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [b'{"reason": "this dashboard is asked for by the name of localhost alone"}']
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "this dashboard only looks at the study"}']

    return guarded
