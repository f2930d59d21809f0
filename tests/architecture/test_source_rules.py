# SPDX-License-Identifier: EUPL-1.2
"""House rules that no linter knows, each checked on the tree and on a planted violation."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 600
LICENCE_LINE = "# SPDX-License-Identifier: EUPL-1.2"

# Time, chance and the world outside are arguments of a pure file, never something it asks for.
IMPURE_MODULES = {
    *("asyncio", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib"),
}
IMPURE_BUILTINS = {"breakpoint", "input", "open", "print"}
CLOCK_METHODS = {"now", "today", "utcnow"}
CLOCK_FUNCTIONS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}

# No checkout may depend on where it was written or on one company's network.
WORKPLACE_PATH = re.compile(r"(?<![\w.)}/$*])/(?:root|work)/")
REGISTRY_ADDRESS = re.compile(
    r"https?://[^\s/\"']*(?:artifact|mirror|npm|proxy|pypi|pythonhosted|registry)", re.IGNORECASE
)
LOCK_ADDRESS = re.compile(r"https?://|--(?:extra-)?index-url|--find-links|\bfile:|^-e ")

Check = Callable[[str], Iterator[str]]


def tracked_files() -> list[Path]:
    """The files git knows or would take: what is ignored is nobody's source."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def is_pure(path: Path) -> bool:
    return path.name in {"rules.py", "snapshot.py"} and "cardservice" in path.relative_to(ROOT).parts[:1]


def is_card_language(path: Path) -> bool:
    return path.relative_to(ROOT).parts[:2] == ("cardservice", "chip")


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "." * node.level


def impure_imports(source: str) -> Iterator[str]:
    for line, module in imported_modules(ast.parse(source)):
        top = module.partition(".")[0]
        if top in IMPURE_MODULES or (top not in sys.stdlib_module_names and top != "cardservice"):
            yield f"{line}: imports {module}"


def world_reads(source: str) -> Iterator[str]:
    """Calls of a clock, and uses of the environment, files and the terminal."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if (
                name in CLOCK_METHODS
                or (owner == "time" and name in CLOCK_FUNCTIONS)
                or (owner == "os" and name in {"environ", "getenv"})
            ):
                yield f"{node.lineno}: uses {owner}.{name}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS:
            yield f"{node.lineno}: calls {node.func.id}()"


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {lines} lines, allowed are {MAX_FUNCTION_LINES}"


def long_file(source: str) -> Iterator[str]:
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{lines} lines, allowed are {MAX_FILE_LINES}"


def missing_licence(source: str) -> Iterator[str]:
    head = source.splitlines()[:2]
    first = head[1:] if head and head[0].startswith("#!") else head
    if first[:1] != [LICENCE_LINE]:
        yield f"does not begin with '{LICENCE_LINE}'"


def unhashed_packages(source: str) -> Iterator[str]:
    lines = source.splitlines()
    for number, line in enumerate(lines, start=1):
        is_package = line[:1] not in {"", " ", "#"}
        if is_package and "--hash=" not in "".join(lines[number : number + 1]):
            yield f"{number}: {line} has no hash"


def matches(pattern: re.Pattern[str]) -> Check:
    def check(source: str) -> Iterator[str]:
        for number, line in enumerate(source.splitlines(), start=1):
            if found := pattern.search(line):
                yield f"{number}: {found[0]}"

    return check


def findings(paths: list[Path], check: Check) -> list[str]:
    assert paths, "nothing to check: the rule would hold whatever the tree is like"
    return [
        f"{path.relative_to(ROOT)}:{finding}"
        for path in paths
        for finding in check(path.read_text(encoding="utf-8", errors="replace"))
    ]


def test_pure_files_import_the_standard_library_alone() -> None:
    """Rules and the snapshot need no package, and nothing that reaches outside the process."""
    assert findings([path for path in python_files() if is_pure(path)], impure_imports) == []


def test_pure_files_and_the_card_language_ask_nothing_of_the_world() -> None:
    """Clock, environment, files and terminal are none of their business."""
    paths = [path for path in python_files() if is_pure(path) or is_card_language(path)]
    assert findings(paths, world_reads) == []


def test_functions_are_short() -> None:
    """No function has more than 70 lines; a migration is one straight list of tables, however many."""
    paths = [path for path in python_files() if path.relative_to(ROOT).parts[0] != "migrations"]
    assert findings(paths, long_functions) == []


def test_files_are_short() -> None:
    """No source file has more than 600 lines."""
    assert findings(python_files(), long_file) == []


def test_every_source_file_names_the_licence() -> None:
    """Python and shell files begin with the licence, after the interpreter where there is one."""
    scripts = {"run", "test"}
    paths = [path for path in tracked_files() if path.suffix in {".py", ".sh"} or path.name in scripts]
    assert findings(paths, missing_licence) == []


def test_no_file_names_a_workplace_or_a_registry() -> None:
    """Nothing committed depends on the machine or the network it was written on."""
    files = tracked_files()
    assert findings(files, matches(WORKPLACE_PATH)) == []
    assert findings(files, matches(REGISTRY_ADDRESS)) == []


def test_locks_carry_hashes_and_no_addresses() -> None:
    """Every locked package has a hash, and where it comes from is left to the machine that installs it."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert findings(locks, matches(LOCK_ADDRESS)) == []
    assert findings(locks, unhashed_packages) == []


@pytest.mark.parametrize(
    ("check", "planted"),
    [
        (impure_imports, "import os"),
        (impure_imports, "from time import monotonic"),
        (impure_imports, "import urllib.request"),
        (impure_imports, "from sqlalchemy import select"),
        (impure_imports, "def late():\n    import pydantic"),
        (world_reads, "started = time.time()"),
        (world_reads, "at = datetime.now(UTC)"),
        (world_reads, "today = date.today"),
        (world_reads, "place = os.environ['HOME']"),
        (world_reads, "text = open('x').read()"),
        (long_functions, "def long():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
        (long_functions, "class A:\n    async def long(self):\n" + "        x = 1\n" * MAX_FUNCTION_LINES),
        (long_file, "x = 1\n" * (MAX_FILE_LINES + 1)),
        (missing_licence, ""),
        (missing_licence, '"""A module without a licence."""'),
        (missing_licence, f"#!/bin/sh\nset -eu\n{LICENCE_LINE}"),
        (matches(WORKPLACE_PATH), f"cd /{'work'}/checkout"),
        (matches(WORKPLACE_PATH), f'log = "/{"root"}/setup.log"'),
        (matches(REGISTRY_ADDRESS), f"index = https:/{'/'}registry.example.org/simple"),
        (matches(LOCK_ADDRESS), "--index-url x"),
        (matches(LOCK_ADDRESS), "six @ file:six.whl"),
        (unhashed_packages, "six==1.17.0"),
        (unhashed_packages, "six==1.17.0 \\\n    # via x\n"),
    ],
)
def test_each_check_bites(check: Check, planted: str) -> None:
    """A planted violation is found, so that an empty list of findings means something."""
    assert list(check(planted)) != []


@pytest.mark.parametrize(
    ("check", "harmless"),
    [
        (impure_imports, "from datetime import time\nfrom cardservice.people.rules import Person"),
        (world_reads, "at = time(8, 30)\nmoment = clock_ms"),
        (long_functions, "def fine():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)),
        (long_file, "x = 1\n" * MAX_FILE_LINES),
        (missing_licence, f"#!/bin/sh\n{LICENCE_LINE}\n"),
        (unhashed_packages, "# by uv\nsix==1.17.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via x\n"),
        (matches(WORKPLACE_PATH), f"see docs/{'work'}/plan.md and ${'root'}/{'root'}/x"),
    ],
)
def test_no_check_bites_what_is_allowed(check: Check, harmless: str) -> None:
    """Each check stops at its bound."""
    assert list(check(harmless)) == []
