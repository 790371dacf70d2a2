"""The ASGI app: routes, request parsing and limits, the page, error responses."""
