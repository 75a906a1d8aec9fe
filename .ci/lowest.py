"""The lowest versions that setup.cfg declares, for the program and its tests: pip's constraints."""

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"


def lowest(setup: Path = SETUP) -> list[str]:
    """Lines `name==version`, one for each requirement `name >=version[,<version]`."""
    config = configparser.ConfigParser()
    config.read(setup, encoding="utf-8")
    needed = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    requirements = [line.strip() for line in needed.splitlines() if line.strip()]
    found = [re.fullmatch(r"([\w-]+) *>=([\w.]+)(,<[\w.]+)?", line) for line in requirements]
    assert all(found), requirements
    return [f"{match[1]}=={match[2]}" for match in found]


if __name__ == "__main__":
    print("\n".join(lowest()))
