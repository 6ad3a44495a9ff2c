"""Run the model server by hand: `python -m modelserver --reply "Hello"` from the tests folder."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from modelserver.replies import text
from modelserver.server import ModelServer, Request


def _load_script(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("model_script", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"`{path}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "reply"):
        raise SystemExit(f"`{path}` has no function `reply(request)`")
    return module.reply


def main() -> None:
    """Serve until interrupted; print one line per request."""
    parser = argparse.ArgumentParser(prog="python -m modelserver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--reply", default="ok", help="the text of every answer")
    parser.add_argument("--script", type=Path, help="a Python file with `reply(request)`, see README.md")
    parser.add_argument("--root-certificate", type=Path, help="write the tunnel's root certificate here")
    options = parser.parse_args()
    server = ModelServer()
    server.default = text(options.reply)
    if options.script:
        server.script(_load_script(options.script))
    server.start(options.port)
    if options.root_certificate:
        server.authority.write_root(options.root_certificate)
    print(f"anthropic  {server.url}")
    print(f"gateway    {server.gateway_url}")
    print(f"vertex     {server.vertex_url}   token {next(iter(server.tokens))}")
    print(f"tunnel     HTTPS_PROXY={server.url}   for {', '.join(sorted(server.tunnel_hosts))}", flush=True)
    _narrate(server)


def _narrate(server: ModelServer) -> None:
    shown: set[Request] = set()
    try:
        while True:
            server.wait_until(
                lambda s: any(r.is_finished or r.is_disconnected for r in s.requests if r not in shown),
                timeout_s=3600,
            )
            for request in list(server.requests):
                if request in shown or not (request.is_finished or request.is_disconnected):
                    continue
                shown.add(request)
                charge = next((c for c in server.bill.charges if c.request_id == request.request_id), None)
                tokens = (
                    f"in {charge.input_tokens} read {charge.read_tokens} write {charge.write_tokens} out {charge.output_tokens}"
                    if charge
                    else ""
                )
                print(json.dumps([request.surface, request.model, request.status]), tokens, flush=True)
    except KeyboardInterrupt:
        server.stop()
        sys.exit(130)


if __name__ == "__main__":
    main()
