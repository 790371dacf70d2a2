"""A fake of CloudFormation's DescribeStacks on a loopback port. moto's needs packages that we do not install."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from tests.fakes.http_api import http_api

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@contextmanager
def cloudformation_api(stacks: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the URL of a server that has these stacks and their outputs."""

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
        form = parse_qs(body.decode())
        assert (request.command, form["Action"]) == ("POST", ["DescribeStacks"])
        [name] = form["StackName"]
        if name in stacks:
            return 200, stack_xml(name, stacks[name])
        error = f"<Code>ValidationError</Code><Message>Stack with id {escape(name)} does not exist</Message>"
        return 400, f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error></ErrorResponse>'

    with http_api(respond) as url:
        yield url


def stack_xml(name: str, outputs: Mapping[str, str]) -> str:
    """The DescribeStacks response for one stack."""
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
