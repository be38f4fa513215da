"""What the catalog of extensions checks of the repository, and the one address that its files share."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys

import pytest

FILES = (
    *("CMakeLists.txt", "SPRRegistration.json", "SPRRegistration.s4ext", "SPRRegistration/SPRRegistration.py"),
    "SPRRegistration/Resources/homepage.txt",
)
PAGES = ("README.md", "docs/how-to/use-in-slicer.md", "docs/how-to/publish.md")
LEAST_CMAKE = (3, 20, 6)


@pytest.fixture
def copied(repository, tmp_path):
    """A copy of the files that have the address, with the command that writes it."""
    for name in (*FILES, "tools/homepage.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, tmp_path / name)
    return tmp_path


def run(folder, *arguments):
    """Run the command; return the exit code and what it said."""
    done = subprocess.run(
        [sys.executable, folder / "tools" / "homepage.py", *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stderr


def addresses(folder, owner):
    """How many addresses of an owner each file has."""
    return {name: len(re.findall(rf"\.com/{owner}/", (folder / name).read_text(encoding="utf-8"))) for name in FILES}


def test_all_files_have_the_same_address(repository):
    assert run(repository) == (0, "")


def test_one_command_writes_the_address_everywhere(copied):
    before = addresses(copied, "OWNER")
    assert min(before.values()) > 0
    assert run(copied, "https://github.com/some-body/SlicerOther") == (0, "")
    assert addresses(copied, "OWNER") == dict.fromkeys(FILES, 0)
    assert addresses(copied, "some-body") == before
    entry = json.loads((copied / "SPRRegistration.json").read_text(encoding="utf-8"))
    assert entry["scm_url"] == "https://github.com/some-body/SlicerOther.git"
    assert entry["$schema"].startswith("https://raw.githubusercontent.com/Slicer/Slicer/main/")
    assert run(copied, "https://github.com/OWNER/SlicerSPRRegistration") == (0, "")
    for name in FILES:
        assert (copied / name).read_bytes() == (copied / name).read_bytes().replace(b"\r", b"")
    assert addresses(copied, "OWNER") == before


def test_a_file_with_another_address_is_named(copied):
    path = copied / "SPRRegistration.s4ext"
    path.write_text(path.read_text(encoding="utf-8").replace("OWNER", "ANOTHER", 1), encoding="utf-8")
    code, said = run(copied)
    assert code == 1
    assert said.splitlines() == [
        "SPRRegistration.s4ext has another address than SPRRegistration/Resources/homepage.txt"
    ]


@pytest.mark.parametrize(
    "address", ["https://github.com/me/registration", "github.com/me/SlicerX", "https://gitlab.com/a/SlicerB"]
)
def test_an_address_that_the_catalog_refuses_is_refused(copied, address):
    before = {name: (copied / name).read_text(encoding="utf-8") for name in FILES}
    code, said = run(copied, address)
    assert code == 2
    assert "must begin with Slicer" in said
    assert before == {name: (copied / name).read_text(encoding="utf-8") for name in FILES}


def test_the_entry_is_one_of_the_catalog(repository):
    data = (repository / "SPRRegistration.json").read_bytes()
    entry = json.loads(data)
    assert b"\r" not in data
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    assert entry["tier"] == 3
    name = entry["scm_url"].split("/")[-1]
    assert name.startswith("Slicer")
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"project({(repository / 'SPRRegistration.json').stem})" in text
    assert not "SPRRegistration".startswith("Slicer")


def test_policies_are_those_that_both_releases_take(repository):
    """Slicer 5.10 fails with CMP0148 (CMake 3.27); its template has this range, which 5.12 takes too."""
    first = (repository / "CMakeLists.txt").read_text(encoding="utf-8").splitlines()[0]
    low, high = (tuple(map(int, part.split("."))) for part in re.search(r"([\d.]+?)\.\.\.([\d.]+)", first).groups())
    assert LEAST_CMAKE == low <= high < (3, 27)
    for path in (repository / "SPRRegistration").rglob("CMakeLists.txt"):
        assert "cmake_minimum_required" not in path.read_text(encoding="utf-8"), path


def size_of(path):
    """Width and height of a PNG file."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_icon_and_thumbnail_have_the_sizes_of_slicer(repository):
    icons = repository / "SPRRegistration" / "Resources" / "Icons"
    assert size_of(icons / "SPRRegistration.png") == (128, 128)
    assert size_of(icons / "SPRRegistrationBreath.png") == (260, 280)


def test_the_first_page_has_what_reviewers_look_for(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    for wanted in ("## In 3D Slicer", "## License", "arxiv.org/abs/2412.17982", "CITATION.cff", "not a medical device"):
        assert wanted in text, wanted
    section = text.split("## In 3D Slicer")[1].split("\n## ")[0]
    assert "docs/images/" in section, "a picture of the module"
    assert (repository / "LICENSE").is_file()


def test_the_tutorial_has_what_reviewers_look_for(repository):
    text = (repository / "docs/how-to/use-in-slicer.md").read_text(encoding="utf-8")
    for wanted in (
        "Load sample data",
        "## When something goes wrong",
        "## Privacy",
        "## Limitations",
        "## How to cite",
    ):
        assert wanted in text, wanted
    assert len(re.findall(r"!\[[^\]]+\]\(", text)) >= 2, "pictures"


@pytest.mark.parametrize("page", PAGES)
def test_links_inside_the_repository_lead_somewhere(repository, page):
    folder = (repository / page).parent
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", (repository / page).read_text(encoding="utf-8")):
        assert (folder / target).exists(), target
