"""Who calls: a bearer token becomes a User. The only reader of Authorization; knows nothing of chats.

bearer.py    the header, the user key, several ways to sign in beside each other
jwt_claims.py    what every JWT of ours must hold, whoever signed it
issuer.py    tokens of an OpenID issuer, whose keys are fetched
backend_tokens.py   tokens of the customer's own backend, whose public keys are a setting
guests.py    tokens of our own, for people who need not sign in
"""

from lambda_src.auth.backend_tokens import BackendToken
from lambda_src.auth.bearer import Authenticate, FirstOf, user_of
from lambda_src.auth.guest_tokens import GuestTokens
from lambda_src.auth.oidc import BearerToken, IssuerKeys, fetch, fetch_https

__all__ = [
    "Authenticate",
    "FirstOf",
    "user_of",
    "BearerToken",
    "IssuerKeys",
    "fetch",
    "fetch_https",
    "BackendToken",
    "GuestTokens",
]
