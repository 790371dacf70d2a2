import humanize
from agents import function_tool


@function_tool
def big_number():
    """A big number in words."""
    return humanize.intword(1_200_000)
