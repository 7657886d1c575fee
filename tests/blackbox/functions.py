"""Makes tools of Python functions through the SDK that can do that, and prints what the server made of them.

Run with the old SDK on PYTHONPATH: functions.py URL NAME
"""

import json
import sys
from typing import List

from letta_client import Letta
from letta_client.types.tool import BaseTool
from pydantic import BaseModel, Field


class Item(BaseModel):
    sku: str = Field(description="which product")
    count: int = 1


class Arguments(BaseModel):
    """Orders things."""

    items: List[Item]
    note: str = Field(default="", description="for the cook")


def plain(city: str, days: int = 3) -> str:
    """
    Tell the weather.

    Args:
        city (str): where
        days (int): how many days

    Returns:
        str: the weather
    """
    return f"{city} {days}"


def order(items: List[Item], note: str = "") -> str:
    return note


class Shout(BaseTool):
    name: str = "shout"
    args_schema: type = Arguments
    description: str = "Shouts."
    tags: List[str] = ["loud"]

    def run(self, items: List[Item], note: str = "") -> str:
        return note.upper()


def main():
    url, name = sys.argv[1:]
    client = Letta(base_url=url, api_key="sk-none", max_retries=0)
    made = [
        client.tools.create_from_function(func=plain, tags=[name]),
        client.tools.upsert_from_function(func=plain, return_char_limit=77),
        client.tools.upsert_from_function(func=order, args_schema=Arguments),
        client.tools.add(tool=Shout(id="not sent")),
    ]
    print(json.dumps([tool.model_dump(mode="json") for tool in made]))


if __name__ == "__main__":
    main()
