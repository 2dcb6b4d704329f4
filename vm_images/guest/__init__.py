"""The guest image: our own Linux for the VM machine, from Debian's packages (docs/guest-image.md).

`find_image` is on the way of every start and imports little; `vm_images.guest.build` and `vm_images.guest.renewal` are
the doing halves.
"""

from vm_images.guest.image import GuestImage, find_image, verify_image

__all__ = ["GuestImage", "find_image", "verify_image"]
