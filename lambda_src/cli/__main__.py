"""`python -m lambda_src.cli`."""

from lambda_src.cli.commands import app

app(prog_name="chat")
