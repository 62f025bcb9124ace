//! Reads the kernel's tables of devices and mounts: text in, answers out.

use std::path::{Path, PathBuf};

/// How the kernel numbers a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// The unit of `/proc/diskstats`, whatever the device's own (kernel: `Documentation/block/stat`).
const SECTOR_BYTES: u64 = 512;

/// Bytes written to this device or partition, by a text like `/proc/diskstats`.
pub(super) fn written_bytes(stats: &str, number: Number) -> Option<u64> {
    stats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (major, minor) = (fields.first()?.parse::<u32>(), fields.get(1)?.parse::<u32>());
        let found = major == Ok(number.major) && minor == Ok(number.minor);
        // Behind numbers and name: four fields of reads, then writes, writes merged, sectors.
        fields.get(9).filter(|_| found)?.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES)
    })
}

/// What a file system lies on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// The device with this file.
    Device(PathBuf),
    /// The file system with this folder.
    Over(PathBuf),
    /// No device of this machine; the kind of file system.
    Nothing(String),
}

/// The mount that holds the path, by a text like `/proc/self/mountinfo` (proc(5)).
pub(super) fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let holding = mounts.lines().filter_map(parse).filter(|(point, _)| path.starts_with(point));
    // Of two at one place, the later one covers the earlier.
    let (_, mount) = holding.max_by_key(|(point, _)| point.as_os_str().len())?;
    Some(mount)
}

/// Mount point and what lies there: `36 35 98:0 /root /point rw,opt tag:1 - kind source options`.
fn parse(line: &str) -> Option<(PathBuf, Mount)> {
    let (before, after) = line.split_once(" - ")?;
    let point = unescape(before.split(' ').nth(4)?);
    let mut after = after.split(' ');
    let (kind, source, options) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    let mount = match upper {
        Some(upper) if kind == "overlay" => Mount::Over(unescape(upper)),
        _ if source.starts_with("/dev/") => Mount::Device(unescape(source)),
        _ => Mount::Nothing(kind.to_owned()),
    };
    Some((point, mount))
}

/// Spaces and the like stand there as `\040`.
fn unescape(text: &str) -> PathBuf {
    let escapes = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "\
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 1258158 47726 107799458 1468104 14918544 231867 320929496 7725113 0 297140 9251960
 254       1 vda1 10 0 20 5 30 0 40 5 0 5 10
";

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw,discard
30 27 0:40 / /btrfs rw shared:5 master:2 - btrfs /dev/mapper/pool\\040a rw,subvol=/x
31 27 0:41 / /app rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/up,workdir=/var/work
32 31 0:42 / /app/tmp rw - tmpfs tmpfs rw,size=4k
33 31 0:43 / /app/tmp rw - ext4 /dev/vdb rw
";

    #[test]
    fn sectors_of_device_and_partition_are_told_apart() {
        let bytes = |major, minor| written_bytes(STATS, Number { major, minor });
        assert_eq!(bytes(254, 0), Some(320_929_496 * 512));
        assert_eq!(bytes(254, 1), Some(40 * 512));
        assert_eq!(bytes(8, 0), None);
        assert_eq!(written_bytes("254 0 vda 1 2", Number { major: 254, minor: 0 }), None);
    }

    #[test]
    fn the_longest_mount_point_holds_a_path() {
        let mount = |path| mount_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(mount("/home/x"), Mount::Device("/dev/vda1".into()));
        assert_eq!(mount("/proc/self"), Mount::Nothing("proc".into()));
        assert_eq!(mount("/btrfs/x"), Mount::Device("/dev/mapper/pool a".into()));
        assert_eq!(mount("/app/data"), Mount::Over("/var/up".into()));
        // `/app` is no prefix of this name.
        assert_eq!(mount("/application"), Mount::Device("/dev/vda1".into()));
    }

    #[test]
    fn a_later_mount_covers_the_earlier() {
        assert_eq!(
            mount_of(MOUNTS, Path::new("/app/tmp/x")),
            Some(Mount::Device("/dev/vdb".into()))
        );
        assert_eq!(mount_of("", Path::new("/x")), None);
    }
}
