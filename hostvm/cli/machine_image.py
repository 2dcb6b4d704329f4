"""`machine build-image`: the guest's kernel and root file system, from Debian's packages."""

from __future__ import annotations

import os

from hostvm.cli.arguments import Arguments
from hostvm.cli.bootstrap_progress import open_bootstrap_progress
from hostvm.cli.machine_choice import settings_of
from hostvm.cli.output import write_out
from hostvm.machines.vm.building import Workplace, make_image, renew_lock
from hostvm.machines.vm.host import host_arch
from hostvm.settings import DEFAULT_VM, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def build(context: Context, arguments: Arguments) -> int:
    workplace = workplace_of(context.settings)
    progress = open_bootstrap_progress()
    try:
        if arguments.flag("update-lock"):
            write_out(f"{renew_lock(workplace, progress)}\n")
        image = make_image(workplace, arguments.text("arch") or host_arch(), progress)
    finally:
        progress.close()
    write_out(f"{os.path.dirname(image.kernel)}\n")
    return 0


def workplace_of(settings: Settings) -> Workplace:
    """Where images for VM machines are made, whichever machine is chosen."""
    of_vm = settings_of(settings, DEFAULT_VM)
    return Workplace(of_vm.cache, of_vm.config, os.environ)
