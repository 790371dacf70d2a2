"""CloudFormation's DescribeStacks on a loopback port: moto's needs packages that we do not install."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@contextmanager
def cloudformation_api(stacks: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The URL of a server that knows these stacks, each with its outputs."""

    class Handler(BaseHTTPRequestHandler):
        """POST / with Action=DescribeStacks."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for an ACK

        def do_POST(self) -> None:
            """One stack, or that there is none."""
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            assert form["Action"] == ["DescribeStacks"]
            [name] = form["StackName"]
            if name in stacks:
                status, body = 200, described(name, stacks[name])
            else:
                error = f"<Code>ValidationError</Code><Message>Stack with id {escape(name)} does not exist</Message>"
                status, body = 400, f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error></ErrorResponse>'
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def described(name: str, outputs: Mapping[str, str]) -> str:
    """The answer for one stack."""
    members = "".join(
        f"<member><OutputKey>{escape(key)}</OutputKey><OutputValue>{escape(value)}</OutputValue></member>"
        for key, value in outputs.items()
    )
    stack = (
        f"<StackName>{escape(name)}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>"
        f"<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{members}</Outputs>"
    )
    return (
        f'<DescribeStacksResponse xmlns="{NAMESPACE}"><DescribeStacksResult><Stacks><member>{stack}</member></Stacks>'
        "</DescribeStacksResult></DescribeStacksResponse>"
    )
