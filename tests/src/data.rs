//! Files to import.

use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Writes `rows` lines of the columns `k INT8, v TEXT, d DECIMAL(10,2), at TIMESTAMPTZ` below a header. Keys
/// are `1..=rows`, ascending, or in a fixed scattered order.
///
/// # Panics
/// If the file cannot be written.
pub fn lineitems(path: &Path, rows: u64, ascending: bool) {
    let file = std::fs::File::create(path).expect("the file can be made");
    let mut out = BufWriter::new(file);
    writeln!(out, "k,v,d,at").expect("the disk takes it");
    for n in 1..=rows {
        // A multiplier without a common factor visits every key once.
        let k = if ascending { n } else { (n * 7_919) % rows + 1 };
        let (cents, second) = (k % 100, k % 60);
        writeln!(
            out,
            "{k},value number {k} of the table,{k}.{cents:02},2026-01-01T00:00:{second:02}Z"
        )
        .expect("the disk takes it");
    }
    out.flush().expect("the disk takes it");
}

/// Writes a small file, making its folder.
///
/// # Panics
/// If it cannot be written.
pub fn write_file(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("the folder can be made");
    }
    std::fs::write(path, text).expect("the file can be written");
}
