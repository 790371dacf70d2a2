"""lambda_src/dev/first_start.py: the assistants that a stage's page offers must be those of the code."""

import json
from typing import Any

import pytest
from agents import Agent

from lambda_src.dev.first_start import faults
from lambda_src.languages import SHIPPED
from lambda_src.runs.assistants import Assistant, Assistants

ENV = {"CHAT_STORE": "memory", "CHAT_GUEST_SECRET": "arn:1", "CHAT_MODELS": "small"}


def build_agent() -> Agent[Any]:
    return Agent(name="Any")


def load() -> Assistants:
    return {"": Assistant(build_agent), "sales": Assistant(build_agent, models=["large"], tool_choices=["price"])}


def problems(*offered: dict[str, Any]) -> list[str]:
    variables = ENV | {"CHAT_PAGE": json.dumps({"assistants": offered})}
    return [f"{fault['option']} {fault['problem']}" for fault in faults(variables, {}, load, (SHIPPED,))]


def test_assistants_of_the_code_are_accepted() -> None:
    sales = {"name": "sales", "label": "Sales", "greeting": None, "prompts": None, "models": ["large"]}
    sales["tool_choices"] = ["price"]
    assert problems({"name": "", "label": "Help"}, sales) == []


@pytest.mark.parametrize(
    ("offered", "problem"),
    [
        (
            {"name": "sale", "label": "Sales"},
            "page.assistants names 'sale', and AGENTS in lambda_src/agent/ has only '', 'sales'.",
        ),
        (
            {"name": "sales", "label": "Sales", "models": ["large", "huge"]},
            "page.assistants offers huge for 'sales', which AGENTS does not.",
        ),
        (
            {"name": "", "label": "Help", "tool_choices": ["price"]},
            "page.assistants offers price for '', which AGENTS does not.",
        ),
    ],
)
def test_an_assistant_or_model_that_the_code_does_not_have_is_reported(offered: dict[str, Any], problem: str) -> None:
    assert problems(offered) == [problem]


def test_assistants_that_cannot_be_loaded_here_are_not_checked() -> None:
    def fail() -> Assistants:
        raise KeyError("SHOP_URL")

    variables = ENV | {"CHAT_PAGE": json.dumps({"assistants": [{"name": "sales", "label": "Sales"}]})}
    assert faults(variables, {}, fail, (SHIPPED,)) == []
