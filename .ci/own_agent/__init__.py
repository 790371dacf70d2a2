"""A user's agent, in three files, with a dependency of its own: what .ci/own-agent puts in the place of ours."""
from agents import Agent
from .prompts import INSTRUCTIONS
from .tools import big_number

def build_agent():
    return Agent(name="Mine", instructions=INSTRUCTIONS, tools=[big_number])
