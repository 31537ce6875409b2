"""A W&B server on loopback, as far as runs ask it: it keeps what they send, and can refuse them or be gone."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


class WandbServer(ThreadingHTTPServer):
    """Serves until it is closed; `refuse` is the HTTP status that it answers everything with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuse: int | None = None
        self.begun: dict[str, dict[str, Any]] = {}
        """What each run was begun with."""
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.reports: dict[str, dict[str, Any]] = {}
        self.exit_codes: dict[str, list[int]] = defaultdict(list)
        self.requests = 0
        self.then: tuple[int, Callable[[], object]] | None = None
        """What happens once so many runs have been begun."""
        self.sent = b""
        """The bodies of all requests."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to log here."""
        return {
            "WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}",
            "WANDB_API_KEY": "k" * 40,
            "WANDB_MODE": "online",
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's concern."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        match operation:
            case "RunResumeStatus":
                return {"model": {"id": "p", "name": "lab", "entity": _ENTITY, "bucket": self._bucket(asked["name"])}}
            case "UpsertBucket":
                name = asked["name"]
                said = {key: value for key, value in asked.items() if value is not None}
                self.begun[name] = {**self.begun.get(name, {}), **said}
                if self.then is not None and len(self.begun) == self.then[0]:
                    threading.Thread(target=self.then[1], daemon=True).start()
                    self.then = None
                project = {"id": "p", "name": "lab", "entity": _ENTITY}
                bucket = {"id": f"id-{name}", "name": name, "config": "{}", "project": project, "historyLineCount": 0}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self._url}/files/{name}"} for name in asked["files"]]
                return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                latest = {"latestArtifact": {"id": "a"}}
                return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": latest}}}
            case "Viewer":
                return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
            case "ArtifactType":
                return {"project": {"artifactType": None, "artifact": None}}
            case "GetProjects":
                project = {
                    "id": "p",
                    "name": "lab",
                    "entityName": "me",
                    "createdAt": "",
                    "isBenchmark": False,
                    "user": None,
                }
                page = {"endCursor": None, "hasNextPage": False}
                return {"models": {"pageInfo": page, "edges": [{"node": project}]}}
            case "ProjectInternalId":
                return {"project": {"internalId": "UHJvamVjdDox"}}
            case "upsertView":
                report = {**asked, "id": asked["id"] or f"Vmlldzo{len(self.reports)}"}
                self.reports[report["id"]] = report
                project = {"id": "p", "name": "lab", "entityName": "me"}
                kept = {name: report[name] for name in ("id", "type", "name", "displayName", "description", "spec")}
                return {"upsertView": {"view": {**kept, "project": project, "updatedAt": None}, "inserted": True}}
        return {}

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def _bucket(self, name: str) -> dict[str, Any] | None:
        if name not in self.begun:
            return None
        rows = self.history[name]
        tail = json.dumps([json.dumps(row) for row in rows[-1:]])
        return {
            "id": f"id-{name}",
            "name": name,
            "summaryMetrics": "{}",
            "displayName": name,
            "logLineCount": 0,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "historyTail": tail,
            "eventsTail": "[]",
            "config": "{}",
            "tags": [],
            "notes": "",
            "wandbConfig": '{"t":{"value":1}}',
        }


_ENTITY = {"id": "e", "name": "me"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._say({})

    def do_PUT(self) -> None:
        self._body()
        self._say({})

    def do_POST(self) -> None:
        body, server = self._body(), self.server
        server.requests += 1
        if server.refuse is not None:
            self._say({"errors": [{"message": "no"}], "error": "no"}, server.refuse)
        elif self.path.endswith("/graphql"):
            asked = json.loads(body)
            operation = _OPERATION.search(asked["query"])
            assert operation is not None
            self._say({"data": server.answer(operation[1], asked.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            run, sent = self.path.split("/")[-2], json.loads(body)
            history = sent.get("files", {}).get("wandb-history.jsonl")
            if history is not None:
                kept = server.history[run]
                kept[history["offset"] :] = [json.loads(line) for line in history["content"]]
            if sent.get("complete"):
                server.exit_codes[run].append(sent["exitcode"])
            self._say({"exitcode": None, "limits": {}})
        else:
            self._say({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.sent += body
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _say(self, value: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
