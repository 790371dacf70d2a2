"""When the vendor shuts down the models that a stage uses, as `GET /v1/models` says. Knows no store.

`chat secret set model-key`, `chat models` (which `make deploy` runs), `chat doctor --stage` and `make verify STAGE=`
all call `retiring`. A vendor that sends no `shutdown_date` causes no warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from lambda_src.cli.stage import OPENAI, Stage, session_for
from lambda_src.errors import UnavailableError
from lambda_src.runs.assistants import Assistants, LoadAssistants, shipped

WARN_DAYS = 90  # before the shutdown: time to evaluate another model and deploy it
REFUSE_DAYS = 7  # a new stage that stops answering within a week is a mistake
ASK_S = 10.0  # for the list of models
NOT_CHECKED = "whether the stage's models are shut down soon was not checked."


@dataclass(frozen=True, slots=True, order=True)
class Retiring:
    """A model in use that is shut down within WARN_DAYS, or already was (`days_left` is then negative)."""

    day: date
    model: str
    days_left: int

    @property
    def too_late(self) -> bool:
        """Whether no new stage should be created with this model."""
        return self.days_left <= REFUSE_DAYS

    def __str__(self) -> str:
        if self.days_left < 0:
            return f"The vendor shut down the model {self.model} on {self.day}. Choose another: docs/how-to/models.md."
        when = f"on {self.day}, {'today' if not self.days_left else f'in {self.days_left} days'}"
        return (
            f"The vendor shuts down the model {self.model} {when}. Choose another before that: docs/how-to/models.md."
        )


def today() -> date:
    """The date in UTC."""
    return datetime.now(UTC).date()


def shutdown_dates(key: str, base_url: str | None) -> dict[str, date]:
    """The shutdown date of every model that has one, by the model's id. Raises what the openai library raises.

    An answer that is no list of models names no dates: other vendors answer as they like.
    """
    import openai  # noqa: PLC0415 - a second that most commands do not need

    with openai.OpenAI(api_key=key, base_url=base_url or OPENAI, max_retries=0, timeout=ASK_S) as client:
        answer: Any = client.models.list()
    listed = getattr(answer, "data", None)
    return {
        model.id: day for model in (listed if isinstance(listed, list) else []) if (day := _day_of(model)) is not None
    }


def _day_of(model: object) -> date | None:
    try:
        return date.fromisoformat(getattr(model, "shutdown_date", None) or "")
    except (TypeError, ValueError):  # whatever another vendor puts there
        return None


def models_of(stage: Stage, assistants: Assistants) -> set[str]:
    """The models that `stage` uses: those it lists, or its agents' own with their handoffs', and dictation's.

    One of them also writes the titles. An agent whose model is an object has its own vendor, and is left out.
    """
    from agents.models import get_default_model  # noqa: PLC0415 - as above

    from lambda_src.runs.mcp_servers import agents_of  # noqa: PLC0415 - as above

    used = {stage.dictation_model} if stage.dictation_model else set()
    for assistant in assistants.values():
        if listed := stage.models if assistant.models is None else assistant.models:
            used |= set(listed)
        else:
            names: list[Any] = [agent.model or get_default_model() for agent in agents_of(assistant.build_agent())]
            used |= {model for model in names if isinstance(model, str)}
    return used


def used_by(stage: Stage, load: LoadAssistants = shipped) -> set[str]:
    """`models_of` with the assistants of lambda_src/agent/. UnavailableError: they cannot be built here."""
    try:
        return models_of(stage, load())
    except Exception as error:
        raise UnavailableError(
            f"The agents in lambda_src/agent/ cannot be built here ({type(error).__name__}: {error}): {NOT_CHECKED}"
        ) from error


def retiring(stage: Stage, dates: Mapping[str, date], *, today: date, load: LoadAssistants = shipped) -> list[Retiring]:
    """The models of `stage` that `dates` says are shut down within WARN_DAYS of `today`, the first one first.

    UnavailableError: the agents cannot be built here. They are not, where the vendor sends no dates.
    """
    if not dates:
        return []
    dated = [(model, dates[model]) for model in used_by(stage, load) if model in dates]
    models = [Retiring(day, model, (day - today).days) for model, day in dated]
    return sorted(model for model in models if model.days_left <= WARN_DAYS)


def looked_up(
    stage: Stage, *, today: date, endpoint_url: str | None = None, load: LoadAssistants = shipped
) -> list[Retiring]:
    """`retiring`, with the stage's own key and its vendor's list; none without a key.

    UnavailableError: why the models could not be checked.
    """
    import openai  # noqa: PLC0415 - as above

    if (key := model_key(stage, endpoint_url)) is None:
        return []
    try:
        dates = shutdown_dates(key, stage.model_base_url)
    except openai.OpenAIError as error:
        where, why = stage.model_base_url or OPENAI, type(error).__name__
        raise UnavailableError(f"{where} did not list its models ({why}): {NOT_CHECKED}") from None
    return retiring(stage, dates, today=today, load=load)


def model_key(stage: Stage, endpoint_url: str | None) -> str | None:
    """The model's key of `stage`, read from SSM; None if it is not set.

    UnavailableError: it cannot be read. SettingsError: these credentials are of another account than the stage.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        ssm: Any = session_for(stage, endpoint_url).client("ssm", endpoint_url=endpoint_url)
        value: str = ssm.get_parameter(Name=stage.model_key, WithDecryption=True)["Parameter"]["Value"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        if code == "ParameterNotFound":
            return None
        raise UnavailableError(f"{stage.model_key} cannot be read, AWS answered {code}: {NOT_CHECKED}") from None
    except BotoCoreError as error:
        raise UnavailableError(f"{stage.model_key} cannot be read, {str(error).rstrip('.')}: {NOT_CHECKED}") from None
    return value
