"""The pages hold together: links lead somewhere, commands are of this program, all are listed."""

import re
import shlex
from pathlib import Path

import pytest

from hpc_diffuser import __version__
from hpc_diffuser.commands.arguments import build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PROSE = tuple(page for page in PAGES if page.name != "CONTRIBUTING.md")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# What may stand before the program in a command line.
_BEFORE = re.compile(r"(mpirun -n \d+ |srun \S+ |\S*/bin/)*(?=hpc-diffuser )")


def name(page: Path) -> str:
    """As tests show it: docs/config.md."""
    return str(page.relative_to(ROOT))


def without_code(page: Path) -> str:
    """A page's text, without blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as code hosts make it of them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def links(page: Path) -> list[str]:
    """What a page links to or shows, but for other sites."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def commands(page: Path) -> list[str]:
    """Every command line of the program in the page's blocks for a shell, as one line each."""
    blocks = [
        text
        for language, text in _FENCED.findall(page.read_text(encoding="utf-8"))
        if language == "bash"
    ]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    pieces = [piece.strip() for line in lines for piece in line.split(" && ")]
    return [piece for piece in pieces if _BEFORE.match(piece)]


def words(command: str) -> list[str]:
    """What the parser gets of it."""
    return shlex.split(_BEFORE.sub("", command, count=1), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """To a file that is there, and in a page to a heading of its."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PROSE, ids=name)
def test_files_that_are_named_are_there(page):
    """Tests and job scripts, by their place in the repository."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`(?:python )?((?:tests|jobscripts)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [p for p in PROSE if commands(p)], ids=name)
def test_commands_are_of_this_program(page):
    """The parser takes every one of them."""
    for command in commands(page):
        try:
            build_parser(words(command)).parse_args(words(command))
        except SystemExit:
            pytest.fail(f"the program does not take: {command}")


def test_commands_are_found():
    """Those with mpirun, a path, or a comment behind them; on two lines."""
    found = [" ".join(words(command)) for command in commands(ROOT / "README.md")]
    assert "fit" in found and "fit --test" in found and "report run --png cc.png" in found
    nuclease = [words(command) for command in commands(ROOT / "docs" / "nuclease.md")]
    assert nuclease[0][-6:] == ["--d-max", "10", "--d-min", "2.5", "-o", "target.h5"]


def test_every_page_is_listed():
    """In the README, in the contents, and in the site's navigation, by its title."""
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        if page.name == "index.md":
            continue
        assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"[{title}]({page.name})" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
        assert f"{title}: {page.name}" in site.replace('"', "")


def test_recipe_of_the_module():
    """An easyconfig is Python: of this version, and with everything that setup.cfg requires."""
    names: dict = {}
    path = next((ROOT / "jobscripts").glob("*.eb"))
    exec(path.read_text(encoding="utf-8"), names)
    assert names["version"] == __version__
    assert path.name == f"{names['name']}-{__version__}-foss-{names['toolchain']['version']}.eb"
    loaded = [name.lower() for name, _ in names["dependencies"]]
    loaded += [extension[0].lower() for extension in names["exts_list"]]
    loaded += [
        "numpy",
        "scipy",
        "threadpoolctl",
        "jinja2",
    ]  # of SciPy-bundle, scikit-learn, Python's
    required = re.findall(r"^    ([\w-]+) *>=", (ROOT / "setup.cfg").read_text(), re.M)[:10]
    assert required and {name.lower() for name in required} <= {*loaded}
