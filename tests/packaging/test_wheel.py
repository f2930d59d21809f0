# SPDX-License-Identifier: EUPL-1.2
"""The wheel contains everything that runs: installed into an empty environment it can migrate and demonstrate."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CARDSERVICE"))}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and of everything else only the locked libraries; no checkout."""
    place = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place, cwd=CHECKOUT)
    assert built.returncode == 0, built.stderr
    venv.create(place / "env", with_pip=True)
    (wheel,) = place.glob("*.whl")
    python = place / "env/bin/python"
    done = run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=place)
    assert done.returncode == 0, done.stderr
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).stdout.strip()
    # A path line brings in the libraries but not the checkout: .pth files below it are not read.
    (Path(purelib) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def test_the_checkout_is_not_what_runs(installed: Path) -> None:
    """What the next tests prove is proved of the wheel."""
    program = "import cardservice, city, rig; print(cardservice.__file__, city.__file__, rig.__file__)"
    found = run(installed / "env/bin/python", "-c", program, cwd=installed)
    assert found.returncode == 0, found.stderr
    assert str(CHECKOUT) not in found.stdout


def test_it_migrates(installed: Path) -> None:
    """`cardservice db upgrade` makes both stores from the migrations inside the wheel."""
    (installed / "settings.toml").write_text(f'[database]\nurl = "sqlite:///{installed}/stores"\n')
    done = run(installed / "env/bin/cardservice", "db", "upgrade", "--config", "settings.toml", cwd=installed)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (installed / "stores").iterdir()} >= {"state.db", "record.db"}


def test_it_demonstrates(installed: Path) -> None:
    """`cardservice demo` plays the first tap with everything it needs from the wheel."""
    command = (installed / "env/bin/cardservice", "demo", "--script", "first-tap", "--json", "--in-process")
    done = run(*command, cwd=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert [step["reason"] for step in document["steps"]] == ["granted", "no_grant", "person_disabled"]
