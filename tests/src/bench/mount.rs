//! Which file system a path is on, from the text of `/proc/self/mountinfo`.

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type: `ext4`.
    pub kind: String,
    /// What is mounted: `/dev/sda1`.
    pub source: String,
    /// Options of the mount and of the file system, without those said twice.
    pub options: String,
    /// The device as `major:minor`.
    pub device: String,
}

/// The mount that holds `path`, which is absolute: the one with the longest mount point, the last of
/// several over each other. `None` if no line fits.
#[must_use]
pub fn of_path(mountinfo: &str, path: &Path) -> Option<Mount> {
    let holds = |mount: &Mount| path.starts_with(&mount.point);
    let mounts = mountinfo.lines().filter_map(parse).filter(holds);
    mounts.max_by_key(|mount| mount.point.components().count())
}

/// One line: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let device = mount.next()?.to_owned();
    let _root = mount.next()?;
    let point = PathBuf::from(unescaped(mount.next()?));
    let own = mount.next()?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?.to_owned();
    let source = unescaped(file_system.next()?);
    let mut options: Vec<&str> = own.split(',').collect();
    for option in file_system.next()?.split(',') {
        if !options.contains(&option) {
            options.push(option);
        }
    }
    Some(Mount { point, kind, source, options: options.join(","), device })
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 8:1 / /data rw,noatime shared:5 master:2 - xfs /dev/sda1 rw,attr2
41 40 0:50 / /data/my\\040disk rw - tmpfs none rw,size=4k
42 27 0:51 / /data rw - overlay upper rw
broken line";

    #[test]
    fn the_longest_mount_point_holds_the_path() {
        let kind = |path: &str| of_path(LINES, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/database").as_deref(), Some("ext4"), "a name is not cut");
        assert_eq!(kind("/data/my disk/x").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/data/x").as_deref(), Some("overlay"), "the last one is on top");
        assert_eq!(kind("relative"), None);
    }

    #[test]
    fn options_of_mount_and_file_system_are_joined() {
        let mount = of_path(LINES, Path::new("/")).unwrap();
        assert_eq!(mount.options, "rw,relatime,discard");
        assert_eq!((mount.device.as_str(), mount.source.as_str()), ("254:0", "/dev/vda"));
        let optional_fields = LINES.lines().nth(2).and_then(parse).unwrap();
        assert_eq!(optional_fields.source, "/dev/sda1");
    }
}
