"""Single keys of the config as text."""

import datetime
import json
from dataclasses import fields
from pathlib import Path

from hpc_diffuser.fit.config import Config

FOLDER = Path("/somewhere")
KEYS = [(s.name, f.name) for s in fields(Config) for f in fields(s.default_factory)]


def toml(value: object) -> str:
    """A value in TOML's spelling."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return value.isoformat() if isinstance(value, datetime.date) else repr(value)
