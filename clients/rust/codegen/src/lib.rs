//! Makes the client's Rust code from the contract in `proto/`, without `protoc`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

const FILES: [&str; 4] = ["types", "scheduler", "executor", "monitor"];

/// The contract as descriptors.
///
/// # Errors
/// When a file of `proto/` is missing or wrong.
pub fn descriptors() -> Result<FileDescriptorSet, Box<dyn Error>> {
    let proto = here("../../../proto");
    let files = FILES.map(|file| proto.join(format!("sluice/v1/{file}.proto")));
    Ok(protox::compile(files, [proto])?)
}

/// Where the code is committed.
#[must_use]
pub fn committed() -> PathBuf {
    here("../src/generated/sluice.v1.rs")
}

/// The code as it should be.
///
/// # Errors
/// When the contract cannot be read, or there is no place for temporary files.
pub fn generate() -> Result<String, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("sluice-codegen-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    tonic_prost_build::configure()
        .out_dir(&folder)
        .build_transport(false)
        // Methods that a server does not write answer UNIMPLEMENTED.
        .generate_default_stubs(true)
        .server_mod_attribute("sluice.v1", "#[cfg(feature = \"server\")]")
        // What is listed comes in the same order each time.
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors()?)?;
    let code = fs::read_to_string(folder.join("sluice.v1.rs"))?;
    fs::remove_dir_all(&folder)?;
    Ok(code)
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_code_is_what_the_contract_says() {
        let committed = std::fs::read_to_string(super::committed()).unwrap();
        assert!(
            committed == super::generate().unwrap(),
            "proto/ has changed: run `cargo run -p codegen` in clients/rust"
        );
    }
}
