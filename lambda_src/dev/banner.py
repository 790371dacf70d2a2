"""The banner of `make dev`: address, store, model, and a command to try."""

from collections.abc import Mapping
from pathlib import Path

from lambda_src.dev.local_settings import local_key
from lambda_src.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def banner(url: str, data: Path, settings: Settings, env: Mapping[str, str]) -> str:
    """The text, in rich's markup."""
    body = (
        '{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"Hello!"}],'
        '"attachments":[],"inference_options":{}}}}'
    )
    return (
        f"\n[bold]{url}[/]  the page: open it and chat\n{_operators(url, settings)}\n"
        f"  store   {_store(settings, data)}\n"
        f"  model   {_model(settings, env)}\n"
        f"  code    lambda_src/ is reloaded on save\n\n"
        f"Try it:\n\n  curl -N {url}/chatkit -H 'content-type: application/json' \\\n    -d '{body}'\n\n"
        "Ctrl-C stops everything and saves."
    )


def shown(folder: Path) -> str:
    """The folder relative to the project's root, if it is inside."""
    return f"{folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}/"


def _operators(url: str, settings: Settings) -> str:
    return "" if settings.operators is None else f"[bold]{url}/operator[/]  the operators' page: answer as a person\n"


def _store(settings: Settings, data: Path) -> str:
    match settings.store:
        case "dynamodb":
            return f"DynamoDB table {settings.table} on the local AWS, kept in {shown(data)}"
        case "postgres":
            return "PostgreSQL, as CHAT_DATABASE_URL says"
        case "memory":
            return "memory: separate for each process of the function, and lost on every save"


def _model(settings: Settings, env: Mapping[str, str]) -> str:
    if local_key(settings, env) is None:
        return "demo (set OPENAI_API_KEY for a real one)"
    if settings.model_base_url is not None:
        return f"the model of lambda_src/agent/, at {settings.model_base_url} ({settings.model_api})"
    return "the model of lambda_src/agent/, with your OPENAI_API_KEY"
