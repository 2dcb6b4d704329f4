"""What can't hold on a machine, with the reason; everything else in the suite holds on every machine.

A test is named by its function; a line counts for all parameters. Its runs on that machine are reported as expected
failures with the reason (`-rx`), and aren't executed. Some could hold, but take an emulated processor too long: their
engine is the same natively, and what only a VM adds is tried by others (tests/behaviour/vm).
"""

from __future__ import annotations

#: Machine -> "file::test" -> reason.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "native": {},
    "vm": {
        "test_bad_input.py::test_only_root_starts_the_engine": "any user may start a VM",
        "test_bad_input.py::test_no_runtime": "the guest image has a runtime by construction",
        "test_installation.py::test_the_unit_is_carried": "the unit is for the engine on this host; a VM starts on use",
        "test_crashes.py::test_every_step_may_fail": "120 engines started anew take an emulated processor an hour",
        "test_builds.py::test_every_step_of_a_build_may_fail": "sixteen engines started anew, and the same steps",
        "test_load.py::test_memory_and_descriptors_are_flat": "the engine's memory is the same natively",
        "test_any_request.py::test_whatever_is_asked_is_answered": "the engine's API is the same natively",
    },
}
