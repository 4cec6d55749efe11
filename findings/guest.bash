# Boots a kernel of Debian under qemu, by software emulation, and runs a script in it; for findings about kernels that
# are not the machine's own. Source it. Debian 12, as root; half a minute and 70 MB of download for each kernel.

# The packages: Debian's kernel of that version, newest as of writing.
kernel_of() {
	case $1 in
	6.1) echo linux-image-6.1.0-57-amd64 ;;
	6.12) echo linux-image-6.12.117+deb12-amd64 ;;
	esac
}

# guest VERSION < SCRIPT runs the script, in bash and with the host's root read-only below an overlay, and prints what it
# prints. It fails where the script fails.
guest() (
	set -euo pipefail
	# No local variables: the trap outlives the function's.
	missing=()
	script=$(cat)
	for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod cpio:cpio xz:xz-utils; do
		command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	fi
	folder=$(mktemp -d)
	trap 'rm -rf --one-file-system "$folder"' EXIT
	name=$(kernel_of "$1")
	cd "$folder"
	mkdir root share init init/bin init/modules init/proc init/lower init/upper init/root
	apt-get download -qq -o APT::Sandbox::User=root "$name" || { apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root "$name"; }
	dpkg-deb --fsys-tarfile ./*.deb | tar -x -C root --wildcards './boot/vmlinuz-*' './lib/modules/*/modules.*' \
		'./lib/modules/*/kernel/'{arch,crypto,fs,lib,net,drivers/net,drivers/virtio}
	release=$(ls root/lib/modules)
	find root/lib/modules -name '*.ko.xz' -print0 | xargs -0r xz -d
	depmod -b root "$release"
	cp "$(command -v busybox)" init/bin/
	for module in virtio_pci 9pnet_virtio 9p overlay; do
		modprobe -d "$folder/root" -S "$release" --ignore-install --show-depends "$module" | awk '/^insmod/{print $2}'
	done | awk '!seen[$0]++' >order
	{
		printf '#!/bin/busybox sh\nset -e\n/bin/busybox --install /bin\n'
		while read -r module; do
			cp "$module" init/modules/
			echo "insmod /modules/${module##*/}"
		done <order
		cat <<-'END'
			mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /lower
			mount -t tmpfs tmpfs /upper
			mkdir /upper/changed /upper/work
			mount -t overlay -o lowerdir=/lower,upperdir=/upper/changed,workdir=/upper/work overlay /root
			for i in proc sysfs devtmpfs; do mkdir -p /root/$i; done
			mount -t proc proc /root/proc
			mount -t sysfs sysfs /root/sys
			mount -t devtmpfs devtmpfs /root/dev
			mount -t tmpfs tmpfs /root/run
			mkdir -p /root/run/share /root/lib/modules
			mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /root/run/share
			mount --bind /root/run/share/modules /root/lib/modules
			exec switch_root /root /bin/bash /run/share/run
		END
	} >init/init
	chmod +x init/init
	(cd init && find . | cpio -o -H newc --quiet) >initramfs
	mv root/lib/modules share/modules
	printf '%s\n' "$script" >share/script
	cat >share/run <<-'END'
		export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
		echo /sbin/modprobe >/proc/sys/kernel/modprobe
		cd /run/share
		bash -euo pipefail script >out 2>&1 </dev/null
		echo $? >status
		sync
		echo o >/proc/sysrq-trigger
		sleep 60
	END
	timeout -k 5 600 qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 1 -m 1024 -nodefaults -nic none -display none \
		-no-reboot -serial file:console -kernel root/boot/vmlinuz-* -initrd initramfs \
		-append 'console=ttyS0 panic=-1 mitigations=off tsc=reliable no_timer_check nokaslr' \
		-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
		-virtfs "local,path=$folder/share,mount_tag=share,security_model=none,multidevs=remap" </dev/null || true
	cat share/out || tail -n 20 console
	[ "$(cat share/status 2>/dev/null)" = 0 ]
)
