"""The names of the modules that talk to a cluster, in one place, for those that still import them from here."""

from __future__ import annotations

from allocfail.cluster.client import BulkResult, Engine, connect, http_pool, path
from allocfail.cluster.connection import Connection, connection, read_secret, with_url
from allocfail.cluster.errors import AnswerError, EngineError, UnreachableError, api_error, unreachable

__all__ = [
    "AnswerError",
    "BulkResult",
    "Connection",
    "Engine",
    "EngineError",
    "UnreachableError",
    "api_error",
    "connect",
    "connection",
    "http_pool",
    "path",
    "read_secret",
    "unreachable",
    "with_url",
]
