//! What reached the device: `/proc/diskstats` of the disk that a folder lies on.

mod lookup;

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use self::lookup::{Mount, Number, mount_of, written_bytes};
use crate::Result;

/// The block device below a folder.
#[derive(Debug)]
pub(crate) struct Device {
    number: Number,
}

impl Device {
    /// The device that files in this folder are written to.
    ///
    /// # Errors
    /// When there is none, as below tmpfs, or it cannot be told from here. The message says which.
    pub(crate) fn below(dir: &Path) -> Result<Device> {
        Device::below_within(dir, 3)
    }

    /// `layers`: how many file systems may lie on top of another one.
    fn below_within(dir: &Path, layers: usize) -> Result<Device> {
        let number = number(fs::metadata(dir)?.dev());
        let device = Device { number };
        if device.written_bytes().is_ok() {
            return Ok(device);
        }
        // An anonymous number: an overlay, btrfs, tmpfs, or a network. The mount says more.
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mount_of(&mounts, &fs::canonicalize(dir)?);
        match mount.ok_or_else(|| format!("no mount holds {}", dir.display()))? {
            Mount::Device(path) => {
                let device = Device { number: number_of_special(&path)? };
                device.written_bytes().map(|_| device)
            }
            Mount::Over(upper) if layers > 1 => Device::below_within(&upper, layers - 1),
            Mount::Over(_) => Err("too many file systems lie on top of each other".into()),
            Mount::Nothing(kind) => {
                Err(format!("{kind} has no block device that can be seen").into())
            }
        }
    }

    /// Bytes written to it by everybody since the machine started.
    ///
    /// # Errors
    /// When `/proc/diskstats` does not know it.
    pub(crate) fn written_bytes(&self) -> Result<u64> {
        let stats = fs::read_to_string("/proc/diskstats")?;
        written_bytes(&stats, self.number)
            .ok_or_else(|| format!("/proc/diskstats has no device {self}").into())
    }
}

/// Its numbers, by which `/sys/dev/block` and `lsblk` name it.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number.major, self.number.minor)
    }
}

/// Waits until all that any process wrote to the file system of this folder is on its device.
pub(crate) fn sync(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

fn number(device: u64) -> Number {
    Number { major: major(device), minor: minor(device) }
}

/// The number that a device file stands for.
fn number_of_special(path: &Path) -> Result<Number> {
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(number(metadata.rdev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_and_synced_is_counted() {
        // Nothing to see where tests run on tmpfs or a network.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let Ok(device) = Device::below(dir.path()) else { return };
        sync(dir.path()).unwrap();
        let before = device.written_bytes().unwrap();
        fs::write(dir.path().join("file"), vec![1; 1 << 20]).unwrap();
        sync(dir.path()).unwrap();
        assert!(device.written_bytes().unwrap() >= before + (1 << 20));
    }

    #[test]
    fn memory_has_no_device() {
        if let Err(error) = Device::below(Path::new("/proc")) {
            assert!(error.to_string().contains("proc"), "{error}");
        } else {
            panic!("/proc lies on a device");
        }
    }
}
