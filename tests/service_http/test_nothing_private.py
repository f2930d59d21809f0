# SPDX-License-Identifier: EUPL-1.2
"""Signing in, sessions and accounts at level debug: what the log and the metrics say of them names nobody."""

from pathlib import Path

from support.canaries import found_in, personal
from support.service import CityFiles, ServiceProcess, directory_in_thread
from support.signing_in import Visitor

from city import people
from city.people import password_of

ANNA = people.ANNA.login
MISTYPED = "canary-mistyped-6c41"


def test_who_signs_in_and_what_proves_it_is_in_no_log_and_no_metric(tmp_path: Path) -> None:
    """No name, login, password, token of a session, a page, a device or an account; right ones and wrong ones."""
    with directory_in_thread() as directory:
        changes = {"": {"roles": [{"role": "administrator", "group": "Rathaus"}]}, "logging": {"level": "debug"}}
        files = CityFiles(tmp_path / "city", directory.address, None, changes)
        files.upgrade()
        with ServiceProcess(files, tmp_path / "log") as service, Visitor(service.url) as visitor:
            service.wait_health(lambda state: state.get("status") == "ready")
            assert visitor.try_to_sign_in(ANNA, MISTYPED).status_code == 403
            assert visitor.try_to_sign_in(MISTYPED, MISTYPED).status_code == 403
            visitor.sign_in(ANNA)
            form_token = visitor.form_token()
            private = personal() | {password_of(ANNA), MISTYPED, visitor.session, visitor.device, form_token}
            account = {"form_token": form_token, "name": "till-9", "scope-canteen": "1", "reason": "Ticket"}
            pace = {"requests_per_s": "5", "burst": "10"}
            assert visitor.post("/accounts", data=account | pace).headers["location"] == "/accounts/till-9"
            made = visitor.post("/accounts/till-9/keys", data={"form_token": form_token, "days": "9"})
            key = made.text.partition('value="oc_')[2].partition('"')[0]
            assert key
            private.add(key.rpartition("_")[2])
            for path in ("/", "/my", "/my/doors", "/my/time", f"/{MISTYPED}", f"/my/time?month={MISTYPED}"):
                visitor.get(path)
            assert visitor.post("/logout", data={"form_token": form_token}).status_code == 303
            metrics = visitor.get("/metrics").text
            assert service.stop() == 0
        log = (tmp_path / "log").read_text()
    assert "sign_in.happened" in log
    assert "cardservice_sign_ins_total" in metrics
    assert found_in(log, private) == set()
    assert found_in(metrics, private) == set()
