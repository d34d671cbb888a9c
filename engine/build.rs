//! Compiles the C++ shim against the headers that `librocksdb-sys` built RocksDB from.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    #[cfg(feature = "store")]
    build_shim();
}

#[cfg(feature = "store")]
fn build_shim() {
    let root = std::env::var("DEP_ROCKSDB_CARGO_MANIFEST_DIR")
        .expect("librocksdb-sys is a direct dependency and says where its sources are");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .file("shim/shim.cc")
        .file("shim/faults.cc")
        .include(format!("{root}/rocksdb/include"))
        .include(format!("{root}/rocksdb"))
        .define("NDEBUG", None)
        .define("ROCKSDB_PLATFORM_POSIX", None)
        .define("ROCKSDB_LIB_IO_POSIX", None)
        .define("OS_LINUX", None)
        .flag_if_supported("-Wno-unused-parameter")
        .compile("cairn_shim");
}
