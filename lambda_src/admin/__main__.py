"""`python -m lambda_src.admin`."""

from lambda_src.admin.cli import app

app(prog_name="chat")
