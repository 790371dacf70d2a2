"""Parser and evaluator for the DynamoDB expressions that our stores use.

Grammar: Developer Guide, "Condition and filter expressions" and "Update expressions". Unused parts (NOT, IN, ADD,
DELETE, document paths) are refused.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
_TOKEN = re.compile(r"\s*(#\w+|:\w+|<=|>=|<>|[=<>(),+-]|\w+)")


class RefusedError(Exception):
    """The error that DynamoDB would answer with."""

    def __init__(self, code: str, message: str, **more: object) -> None:
        self.code = code
        self.more = more
        super().__init__(message)


def invalid(message: str) -> RefusedError:
    """Return the error for a malformed request."""
    return RefusedError("ValidationException", message)


class Names:
    """A request's placeholders: all used ones must be defined, and all defined ones must be used."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._names: Mapping[str, str] = params.get("ExpressionAttributeNames", {})
        self._values: Mapping[str, Any] = params.get("ExpressionAttributeValues", {})
        self._used: set[str] = set()

    def name(self, token: str) -> str:
        """Return the attribute name for a token."""
        if not token.startswith("#"):
            raise invalid(f"use expression names, {token} may be a reserved word")
        if token not in self._names:
            raise invalid(f"An expression attribute name used in the document path is not defined: {token}")
        self._used.add(token)
        return self._names[token]

    def value(self, token: str) -> Any:
        """Return the value for a token."""
        if token not in self._values:
            raise invalid(f"An expression attribute value used in expression is not defined: {token}")
        self._used.add(token)
        return self._values[token]

    def all_used(self) -> None:
        """Raise ValidationException for placeholders that no expression uses."""
        if unused := {*self._names, *self._values} - self._used:
            raise invalid(f"Value provided in ExpressionAttributeNames or Values unused in expressions: {unused}")


class Parser:
    """Parses and evaluates one expression."""

    def __init__(self, text: str, names: Names) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise invalid(f"Syntax error in {text!r}")
        self._names = names

    def _take(self, *expected: str) -> str:
        token = self._tokens.pop(0) if self._tokens else ""
        if expected and token not in expected:
            raise invalid(f"Syntax error; token: {token!r}, expected: {expected}")
        return str(token)

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def condition(self, row: Row) -> bool:
        """Whether the whole expression holds for `row`."""
        holds = self._disjunction(row)
        if self._tokens:
            raise invalid(f"Syntax error; token: {self._tokens[0]!r}")
        return holds

    def _disjunction(self, row: Row) -> bool:
        holds = self._conjunction(row)
        while self._peek() == "OR":
            self._take()
            other = self._conjunction(row)
            holds = holds or other
        return holds

    def _conjunction(self, row: Row) -> bool:
        holds = self._comparison(row)
        while self._peek() == "AND":
            self._take()
            other = self._comparison(row)
            holds = holds and other
        return holds

    def _comparison(self, row: Row) -> bool:
        token = self._take()
        if token == "(":
            holds = self._disjunction(row)
            self._take(")")
            return holds
        if token in ("attribute_exists", "attribute_not_exists"):
            self._take("(")
            name = self._names.name(self._take())
            self._take(")")
            return (name in row) == (token == "attribute_exists")
        if token == "begins_with":
            self._take("(")
            left, _, right = self._operand(row, self._take()), self._take(","), self._operand(row, self._take())
            self._take(")")
            return left is not None and str(left["S"]).startswith(right["S"])
        left, sign = self._operand(row, token), self._take("=", "<>", "<", ">", "<=", ">=", "BETWEEN")
        right = self._operand(row, self._take())
        if sign == "BETWEEN":
            last = self._operand(row, self._take("AND") and self._take())
            return _compare(left, ">=", right) and _compare(left, "<=", last)
        return not _compare(left, "=", right) if sign == "<>" else _compare(left, sign, right)

    def _operand(self, row: Row, token: str) -> Any:
        return self._names.value(token) if token.startswith(":") else row.get(self._names.name(token))

    def update(self, row: Row) -> Row:
        """Return the updated `row`; right-hand sides see the row as it was before."""
        new = dict(row)
        paths: list[str] = []
        while self._tokens:
            action = self._take("SET", "REMOVE")
            while True:
                name = self._names.name(self._take())
                paths.append(name)
                if action == "REMOVE":
                    new.pop(name, None)
                else:
                    self._take("=")
                    new[name] = self._assigned(row)
                if self._peek() != ",":
                    break
                self._take()
        if len(set(paths)) != len(paths):
            raise invalid("Two document paths overlap with each other")
        return new

    def _assigned(self, row: Row) -> Any:
        value = self._term(row)
        if self._peek() not in ("+", "-"):
            return value
        sign, other = self._take(), self._term(row)
        if "N" not in value or "N" not in other:
            raise invalid("An operand in the update expression has an incorrect data type")
        a, b = Decimal(value["N"]), Decimal(other["N"])
        return {"N": str(a + b if sign == "+" else a - b)}

    def _term(self, row: Row) -> Any:
        token = self._take()
        if token == "if_not_exists":
            self._take("(")
            name, _, value = self._names.name(self._take()), self._take(","), self._operand(row, self._take())
            self._take(")")
            return row.get(name, value)
        if token == "list_append":
            self._take("(")
            first, _, second = self._term(row), self._take(","), self._term(row)
            self._take(")")
            if "L" not in first or "L" not in second:
                raise invalid("An operand in the update expression has an incorrect data type")
            return {"L": [*first["L"], *second["L"]]}
        value = self._operand(row, token)
        if value is None:
            raise invalid("The provided expression refers to an attribute that does not exist in the item")
        return value


def _compare(left: Any, sign: str, right: Any) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return False
    (kind,) = left
    a, b = (_comparable(kind, x[kind]) for x in (left, right))
    return bool({"=": a == b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[sign])


def _comparable(kind: str, value: Any) -> Any:
    """Convert for comparison: numbers compare by value, strings by their UTF-8 bytes."""
    if kind == "N":
        return Decimal(value)
    return value.encode() if kind == "S" else value
