"""A real Prometheus that has scraped given texts, one target each."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prometheus_api
import support
from oracle import read_metrics
from prometheus_api import Vector

_TEXTS = ("127.0.0.1", 9000)
_SCRAPE_TIMEOUT = 1

def version() -> tuple[int, int]:
    """Major and minor."""
    done = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    return tuple(map(int, re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr).groups()))


class Prometheus:
    """Texts are known by names; each of their series has the name as its label `text`."""

    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts
        self._time = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[Prometheus]:
        with contextlib.ExitStack() as resources:
            self._serve_texts(resources)
            self._start(resources)
            support.eventually(self._has_all, "Prometheus has all series of all texts")
            yield self

    def query(self, promql: str) -> Vector:
        """The result, an instant vector. Label `text` is left out."""
        return prometheus_api.query(promql, without=("text",), time=self._time)

    def check_selector(self, selector: str) -> None:
        """Raises Refused unless this can follow a metric's name in match[]=."""
        prometheus_api.ask("series", **{"match[]": f"x{selector}"}, start=0, end=1)

    def _serve_texts(self, resources: contextlib.ExitStack) -> None:
        texts = self._texts

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(texts[self.path.removeprefix("/")])

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(_TEXTS, Handler)
        resources.callback(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        resources.callback(server.shutdown)

    def _start(self, resources: contextlib.ExitStack) -> None:
        directory = resources.enter_context(support.public_directory())
        host, port = _TEXTS
        targets = [
            {
                "targets": [f"{host}:{port}"],
                "labels": {"__metrics_path__": f"/{name}", "text": name},
            }
            for name in self._texts
        ]
        config = {  # JSON is YAML
            "global": {"scrape_interval": "1s", "scrape_timeout": f"{_SCRAPE_TIMEOUT}s"},
            "scrape_configs": [
                {
                    "job_name": "texts",
                    "static_configs": targets,
                }
            ],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={prometheus_api.ADDRESS}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        resources.callback(process.wait)
        resources.callback(process.kill)

    def _has_all(self) -> bool:
        """Whether all is there at the time for which all queries ask, which this sets."""
        self._time = time.time()
        if not self._has_all_now():
            return False
        # A scrape that began before and fails would still take series back, for that time too.
        time.sleep(_SCRAPE_TIMEOUT + 0.2)
        return self._has_all_now()

    def _has_all_now(self) -> bool:
        try:
            return all(
                self.query(f'count({{__name__=~"iptables_.*",text="{name}"}})')
                == {(): sum(len(family.samples) for family in read_metrics(text).values())}
                for name, text in self._texts.items()
            )
        except OSError:
            return False
