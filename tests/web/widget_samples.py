"""A widget for each kind of component, whose pictures docs/reference/widgets.md shows (tests/web/screenshots.py)."""

from typing import Any

Component = dict[str, Any]

PICTURE_URL = "https://images.example.com/lantern.svg"
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 280 120">
<path d="M0 0h280v120H0z" fill="#f4ede1"/><path d="M140 0v22" stroke="#5b4636" stroke-width="2"/>
<ellipse cx="140" cy="62" rx="46" ry="38" fill="#d9703f"/><path d="M120 22h40v8h-40zM120 94h40v8h-40z" fill="#5b4636"/>
<path d="M97 50h86M94 62h92M97 74h86" stroke="#b85427" stroke-width="2"/></svg>"""


def _text(value: str, **fields: str) -> Component:
    return {"type": "Text", "value": value, **fields}


def _basic(*children: Component) -> Component:
    return {"type": "Basic", "children": list(children)}


def _box(value: str) -> Component:
    return {"type": "Box", "background": "surface-secondary", "padding": 2, "radius": "md", "children": [_text(value)]}


def _item(icon: str, label: str) -> Component:
    return {
        "type": "ListViewItem",
        "onClickAction": {"type": "order.open", "payload": {"order": label}},
        "children": [{"type": "Icon", "name": icon}, _text(label)],
    }


def _table(rows: list[list[str]], *, has_header: bool = False) -> Component:
    return {
        "type": "Table",
        "children": [
            {
                "type": "Table.Row",
                "header": has_header and number == 0,
                "children": [
                    {"type": "Table.Cell", "align": align, "children": [_text(value)]}
                    for value, align in zip(row, ("start", "end"), strict=True)
                ],
            }
            for number, row in enumerate(rows)
        ],
    }


SAMPLES: dict[str, Component] = {
    "Card": {
        "type": "Card",
        "status": {"text": "Paid", "icon": "check-circle"},
        "children": [{"type": "Title", "value": "Order 17"}, _text("Two lanterns, $41.80")],
        "confirm": {"label": "Ship", "action": {"type": "order.ship", "payload": {"order_id": 17}}},
        "cancel": {"label": "Cancel", "action": {"type": "order.cancel", "payload": {"order_id": 17}}},
    },
    "ListView": {
        "type": "ListView",
        "limit": 2,
        "children": [_item("clock", "Order 18"), _item("check", "Order 17"), _item("check", "Order 16")],
    },
    "ListViewItem": {"type": "ListView", "children": [_item("check", "Order 17")]},
    "Basic": _basic({"type": "Title", "value": "Order 17"}, _text("Two lanterns, $41.80")),
    "Box": _basic(
        {
            "type": "Box",
            "background": {"light": "#fdf3d7", "dark": "#4a3b10"},
            "border": {"size": 1, "color": "#d8b455"},
            "padding": 3,
            "radius": "lg",
            "children": [_text("Orders placed today ship on Monday.")],
        }
    ),
    "Row": _basic({"type": "Row", "gap": 2, "children": [_box("One"), _box("Two"), _box("Three")]}),
    "Col": _basic({"type": "Col", "gap": 1, "children": [_box("One"), _box("Two")]}),
    "Spacer": _basic({"type": "Row", "children": [_text("Total"), {"type": "Spacer"}, _text("$41.80")]}),
    "Divider": _basic(_text("Two lanterns"), {"type": "Divider"}, _text("One candle")),
    "Transition": _basic({"type": "Transition", "children": _text("Shipped")}),
    "Text": _basic(_text("Two lanterns"), _text("Not shipped yet", color="secondary", size="sm")),
    "Title": _basic({"type": "Title", "value": "Order 17", "size": "xl"}),
    "Caption": _basic({"type": "Caption", "value": "Updated 5 minutes ago"}),
    "Markdown": _basic({"type": "Markdown", "value": "Expected on **Thursday**:\n\n* two lanterns\n* one candle"}),
    "Badge": _basic(
        {
            "type": "Row",
            "children": [
                {"type": "Badge", "label": "Paid", "color": "success"},
                {"type": "Badge", "label": "Delayed", "color": "warning"},
                {"type": "Badge", "label": "Draft"},
            ],
        }
    ),
    "Icon": _basic(
        {
            "type": "Row",
            "gap": 3,
            "children": [{"type": "Icon", "name": name} for name in ("search", "star", "clock", "globe", "info")],
        }
    ),
    "Image": _basic({"type": "Image", "src": PICTURE_URL, "alt": "A paper lantern", "height": 120}),
    "Button": _basic(
        {
            "type": "Row",
            "children": [
                {"type": "Button", "label": "Ship", "iconStart": "check", "onClickAction": {"type": "order.ship"}},
                {"type": "Button", "label": "Details", "variant": "outline", "onClickAction": {"type": "order.open"}},
            ],
        }
    ),
    "Form": _basic(
        {
            "type": "Form",
            "direction": "row",
            "onSubmitAction": {"type": "order.find"},
            "children": [
                {"type": "Input", "name": "number", "placeholder": "Order number"},
                {"type": "Button", "label": "Find", "submit": True},
            ],
        }
    ),
    "Input": _basic({"type": "Input", "name": "city", "placeholder": "City"}),
    "Textarea": _basic({"type": "Textarea", "name": "note", "rows": 2, "placeholder": "Note for the driver"}),
    "Label": _basic(
        {"type": "Label", "value": "Name", "fieldName": "name"},
        {"type": "Input", "name": "name", "defaultValue": "Ada Lovelace"},
    ),
    "Select": _basic(
        {
            "type": "Select",
            "name": "size",
            "defaultValue": "m",
            "options": [{"value": "s", "label": "Small"}, {"value": "m", "label": "Medium"}],
        }
    ),
    "DatePicker": _basic({"type": "DatePicker", "name": "day", "defaultValue": "2026-03-12"}),
    "Checkbox": _basic({"type": "Checkbox", "name": "gift", "label": "Wrap as a gift", "defaultChecked": True}),
    "RadioGroup": _basic(
        {
            "type": "RadioGroup",
            "name": "speed",
            "defaultValue": "standard",
            "options": [
                {"value": "standard", "label": "Standard, 3 days"},
                {"value": "express", "label": "Express, 1 day"},
            ],
        }
    ),
    "Table": _basic(_table([["Item", "Price"], ["Two lanterns", "$38.00"], ["One candle", "$3.80"]], has_header=True)),
    "Table.Row": _basic(_table([["Two lanterns", "$38.00"]])),
    "Table.Cell": _basic(
        {
            "type": "Table",
            "children": [
                {
                    "type": "Table.Row",
                    "children": [
                        {"type": "Table.Cell", "colSpan": 2, "align": "center", "children": [_text("Two columns wide")]}
                    ],
                },
                *_table([["Left", "Right"]])["children"],
            ],
        }
    ),
    "Chart": _basic(
        {
            "type": "Chart",
            "xAxis": "Month",
            "series": [
                {"type": "bar", "dataKey": "orders", "label": "Orders"},
                {"type": "bar", "dataKey": "returns", "label": "Returns"},
            ],
            "data": [{"Month": "May", "orders": 41, "returns": 2}, {"Month": "June", "orders": 58, "returns": 3}],
        }
    ),
}
