//! What the results depend on: processor, memory, kernel, file system, device.

use std::path::Path;

use cairn_tests::bench::mount;
use serde_json::{Value, json};

/// Facts in the order in which they are printed.
pub(super) struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Looks at the machine, and at the file system that holds `folder`.
    pub(super) fn of(folder: &Path) -> Self {
        let mut facts = vec![
            ("processor", processor()),
            ("memory", memory()),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("build", build()),
            ("stores in", folder.display().to_string()),
        ];
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        match mount::of_path(&mounts, folder) {
            None => facts.push(("file system", "unknown".to_owned())),
            Some(mount) => {
                let name = format!("{} on {}", mount.kind, mount.source);
                facts.push(("file system", name));
                facts.push(("mount options", mount.options.clone()));
                facts.push(("journal", journal(&mount)));
                facts.extend(device(&mount.device));
            }
        }
        Self(facts)
    }

    /// The facts, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name:<14} {value}")).collect()
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The value of the first `name: value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&text, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model}, {count} threads")
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field(&text, "MemTotal").unwrap_or_else(|| "unknown".to_owned())
}

fn build() -> String {
    let checks = if cfg!(debug_assertions) { "on" } else { "off" };
    format!("debug assertions {checks} in our own crates, off in RocksDB")
}

/// ext4 has a journal or not; the kernel shows a running one.
fn journal(mount: &mount::Mount) -> String {
    if mount.kind != "ext4" {
        return format!("that of {}", mount.kind);
    }
    let link = std::fs::read_link(format!("/sys/dev/block/{}", mount.device)).unwrap_or_default();
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let of_device = |entry: std::fs::DirEntry| {
        let entry = entry.file_name().to_string_lossy().into_owned();
        entry.rsplit_once('-').is_some_and(|(device, _)| device == name)
    };
    let running =
        std::fs::read_dir("/proc/fs/jbd2").is_ok_and(|entries| entries.flatten().any(of_device));
    if !running {
        return "none".to_owned();
    }
    let mode = mount.options.split(',').find_map(|option| option.strip_prefix("data="));
    mode.unwrap_or("ordered").to_owned()
}

/// Limits of the device's queue; those of a partition are its disk's.
fn device(number: &str) -> Vec<(&'static str, String)> {
    let own = format!("/sys/dev/block/{number}/queue");
    let disk = format!("/sys/dev/block/{number}/../queue");
    let queue = if Path::new(&own).exists() { own } else { disk };
    let limit = |name: &str| read(&format!("{queue}/{name}"));
    let discard = format!(
        "max {} bytes (hardware {}), granularity {}",
        limit("discard_max_bytes"),
        limit("discard_max_hw_bytes"),
        limit("discard_granularity")
    );
    let about = format!(
        "rotational {}, scheduler {}, write cache {}",
        limit("rotational"),
        limit("scheduler"),
        limit("write_cache")
    );
    vec![("discard", discard), ("device", about)]
}
