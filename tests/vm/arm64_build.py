"""How the small arm64 Debian of the tests is made; what is changed here, is made anew."""

from __future__ import annotations

import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

RELEASE = "bookworm"
PACKAGES = (
    "systemd systemd-sysv dbus udev kmod openssh-server python3 rsync sudo ca-certificates iproute2 mosquitto-clients "
    "libstdc++6 procps"
)
DISK_MB = 8192  # sparse: what is not written takes no room
EARLY_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""What the initramfs loads to reach the disk; ext4 asks for a checksum by its name, which no dependency tells."""
LATE_MODULES = ("virtio_net", "virtio_rng", "autofs4", "configfs", "vivid")

BINFMT = Path("/proc/sys/fs/binfmt_misc")

# One camera with one input, a webcam; as it is, vivid makes eleven devices. No output, tuner, or raw data.
VIVID = "options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0\n"
# Two cables: the one that tests pull out, with the broker behind it, and one for looking on meanwhile.
NETWORKS = {"eth0": "10.0.2.15/24", "eth1": "10.0.3.15/24"}
# They would only take time from two slow processors, some of them at every start.
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "getty@tty1.service serial-getty@ttyAMA0.service systemd-networkd-wait-online.service systemd-pstore.service "
    "systemd-binfmt.service proc-sys-fs-binfmt_misc.automount"
)
INIT = """#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module" || echo "initramfs: no $module"; done < /modules/order
tries=0
until mount -t ext4 /dev/vda /root; do
    tries=$((tries + 1)); [ $tries -lt 50 ] || { echo "initramfs: no disk"; poweroff -f; }
    sleep 0.2
done
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""


def build(work: Path) -> Path:
    """Fill a folder, and return the one in it that has the files of an image."""
    _enable_arm64_programs()
    image, packages, root, early = (work / name for name in ("image", "packages", "root", "early"))
    image.mkdir()
    # Only unpacked: the scripts of the kernel's package would make a large initramfs, under emulation.
    _mmdebstrap("extract", "linux-image-arm64 busybox-static", packages)
    _mmdebstrap("minbase", PACKAGES, root)
    (kernel,) = packages.glob("boot/vmlinuz-*")
    shutil.copy(kernel, image / "vmlinuz")
    version = kernel.name.removeprefix("vmlinuz-")
    modules = _Modules(packages / "lib/modules" / version)
    _make_initramfs(early, modules, packages / "bin/busybox", image / "initramfs")
    modules.install(LATE_MODULES, root / "lib/modules" / version)
    _run("chroot", root, "depmod", version)
    _configure(root, image)
    with (image / "disk.ext4").open("wb") as disk:
        disk.truncate(DISK_MB << 20)
    ready = "lazy_itable_init=0,lazy_journal_init=0"  # otherwise each machine would do it, in the background
    _run("mke2fs", "-q", "-t", "ext4", "-E", ready, "-L", "root", "-d", root, image / "disk.ext4")
    return image


def _enable_arm64_programs() -> None:
    """Let the kernel hand programs for arm64 to qemu, for the packages' own scripts."""
    if not (BINFMT / "status").exists():
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    if not (BINFMT / "qemu-aarch64").exists():
        _run("update-binfmts", "--enable", "qemu-aarch64")


def _mmdebstrap(variant: str, packages: str, root: Path) -> None:
    documents = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info"))
    options = ("--mode=root", "--arch=arm64", f"--variant={variant}", "--dpkgopt=force-unsafe-io", *documents)
    # It mounts the host's /sys and /dev/shm into the root. In a namespace of its own they go with it, however it ends;
    # otherwise whoever removes what an interrupted build has left would remove what is in the host's.
    apart = ("unshare", "--mount", "--propagation", "private")
    _run(*apart, "mmdebstrap", *options, f"--include={','.join(packages.split())}", RELEASE, root)


class _Modules:
    """The modules of a kernel, with what each of them needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {_module_name(path.stem): path for path in folder.rglob("*.ko")}

    def with_needed(self, names: tuple[str, ...]) -> Iterator[Path]:
        """Each one after those that it needs."""
        told: dict[str, Path] = {}
        for name in names:
            self._add(name, told)
        return iter(told.values())

    def install(self, names: tuple[str, ...], target: Path) -> None:
        """Copy them, and what depmod reads beside them."""
        for path in self.with_needed(names):
            copy = target / path.relative_to(self._folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        for index in self._folder.glob("modules.*"):
            shutil.copy(index, target)

    def _add(self, name: str, told: dict[str, Path]) -> None:
        if name in told:
            return
        needed = re.search(rb"\0depends=([^\0]*)\0", self._files[name].read_bytes())
        assert needed is not None, f"{self._files[name]} does not tell what it depends on"
        for other in needed[1].decode().split(","):
            if other:
                self._add(_module_name(other), told)
        told[name] = self._files[name]


def _module_name(name: str) -> str:
    """As the kernel writes it; files may have hyphens."""
    return name.replace("-", "_")


def _make_initramfs(early: Path, modules: _Modules, busybox: Path, out: Path) -> None:
    """A busybox that loads what the disk needs, and hands over to the systemd on it."""
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        (early / name).mkdir(parents=True)
    shutil.copy(busybox, early / "bin/busybox")
    order = [shutil.copy(path, early / "modules") for path in modules.with_needed(EARLY_MODULES)]
    (early / "modules/order").write_text("".join(f"{Path(path).name}\n" for path in order))
    (early / "init").write_text(INIT)
    (early / "init").chmod(0o755)
    _run("chroot", early, "/bin/busybox", "--install", "-s", "/bin")
    pack = "find . -mindepth 1 | cpio -o -H newc"
    out.write_bytes(subprocess.check_output(["chroot", early, "/bin/sh", "-c", pack], stderr=subprocess.DEVNULL))


def _configure(root: Path, image: Path) -> None:
    """What makes a machine of the packages: networks, keys, camera."""
    texts = {
        "etc/hostname": "arm64-machine\n",
        "etc/hosts": "127.0.0.1 localhost arm64-machine\n10.0.2.100 broker\n",
        "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/modules-load.d/vivid.conf": "vivid\n",
        "etc/modprobe.d/vivid.conf": VIVID,
        "etc/ssh/sshd_config.d/tests.conf": "UseDNS no\nPermitRootLogin prohibit-password\nHostKey /etc/ssh/key\n",
        # What it says of its last minute should be there after a power cut, too.
        "etc/systemd/journald.conf.d/tests.conf": "[Journal]\nStorage=persistent\nSyncIntervalSec=5s\n",
    }
    for name, address in NETWORKS.items():
        network = f"[Match]\nName={name}\n[Network]\nAddress={address}\nLinkLocalAddressing=no\n"
        texts[f"etc/systemd/network/{name}.network"] = network
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("key", "host_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", image / name)
    for path in root.glob("etc/ssh/ssh_host_*"):
        path.unlink()
    shutil.move(image / "host_key", root / "etc/ssh/key")
    keys = root / "root/.ssh"
    keys.mkdir(exist_ok=True)
    keys.chmod(0o700)
    shutil.copy(image / "key.pub", keys / "authorized_keys")
    _run("systemctl", f"--root={root}", "mask", "--quiet", *MASKED.split())
    _run("systemctl", f"--root={root}", "enable", "--quiet", "systemd-networkd", "ssh")


def _run(*command: str | Path) -> None:
    """Run it; what it said is in the error if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}".strip()[-4000:]
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}"
