"""The one page of the player, and what a browser may load for it."""

import base64
import hashlib
import re
from importlib.resources import files


def read_page() -> tuple[bytes, str]:
    """Return the page in UTF-8 and its content security policy: its own script and style, its own pictures, us."""
    text = files("worldrl.player").joinpath("page.html").read_text(encoding="utf-8")
    return text.encode(), (
        f"default-src 'none'; script-src {_hashes(text, 'script')}; style-src {_hashes(text, 'style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(page: str, tag: str) -> str:
    """Return the hashes by which a policy lets in what stands within a tag."""
    parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in parts)
