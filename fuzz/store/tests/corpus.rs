//! Every target over its kept corpus. Random inputs have suites of their own: `tests/tests/model.rs` and `wire.rs`.

use std::path::Path;

use cairn_fuzz_store::TARGETS;

#[test]
fn the_kept_inputs_hold() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries =
            folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            println!("{}", file.display());
            target(&std::fs::read(&file).expect("a file of the corpus"));
        }
    }
}
