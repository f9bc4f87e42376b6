#!/bin/sh
# The first process of the virtual machine, whose root is this machine's, read-only. The kernel's command line gives `project`, `python`
# (the installation of the interpreter) and `results` (a directory to write to). Changes go to memory; then systemd takes over.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=755 memory /mnt
cp -a /etc /mnt/etc
mkdir -p /mnt/var/lib /mnt/var/log /mnt/results /mnt/project /mnt/python
mount -t hostfs -o "$results" results /mnt/results
mount --bind "$project" /mnt/project
mount --bind "$python" /mnt/python
# Reachable for every user, wherever they are: below a home that only its owner may enter, too.
for path in "$project" "$python" /tmp/; do
  top=${path#/}
  case "$top" in usr/*) ;; *) mountpoint -q "/${top%%/*}" || mount -t tmpfs -o mode=1777 memory "/${top%%/*}" ;; esac
done
for name in project python; do
  eval "path=\$$name"
  case "$path" in /usr/*) ;; *) mkdir -p "$path" && mount --bind "/mnt/$name" "$path" ;; esac
done
mount --bind /mnt/etc /etc
mount --bind /mnt/var /var
: > /etc/fstab
echo 'operator-of-bulkhead:x:61000:61000::/tmp:/bin/sh' >> /etc/passwd
echo 'operator-of-bulkhead:x:61000:' >> /etc/group
echo 'operator-of-bulkhead:*:19000::::::' >> /etc/shadow
# Of this machine's units only those that make cgroups and sessions.
rm -rf /etc/systemd/system
mkdir /etc/systemd/system
cd /etc/systemd/system
for unit in systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-random-seed systemd-update-utmp systemd-tmpfiles-setup \
  systemd-tmpfiles-setup-dev systemd-hwdb-update systemd-machine-id-commit systemd-remount-fs; do
  ln -s /dev/null "$unit.service"
done
ln -s /dev/null tmp.mount
cat > inside.service <<UNIT
[Unit]
Requires=dbus.service systemd-logind.service
After=dbus.service systemd-logind.service systemd-user-sessions.service
[Service]
Type=oneshot
WorkingDirectory=$project
ExecStart=$project/.venv/pipeline/bin/python -B -m drills.training.cgroup2.inside /mnt/results
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/tty0
UNIT
printf '[Unit]\nRequires=basic.target inside.service\nAfter=basic.target\n' > default.target
exec /lib/systemd/systemd --log-level=warning --show-status=0
