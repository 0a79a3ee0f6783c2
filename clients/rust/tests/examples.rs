//! The examples run as they are written.

mod support;

use std::path::{Path, PathBuf};

use support::{Fake, GPU};
use tokio::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `cargo test` builds the examples beside the tests.
fn built(example: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(example);
    assert!(path.exists(), "build it first: cargo build --example {example}");
    path
}

async fn run(example: &str, arguments: &[&str], server: &Fake) -> String {
    let done =
        Command::new(built(example)).args(arguments).env("SLUICE_ADDRESS", &server.address).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn the_one_in_the_readme_is_at_most_10_lines_and_runs_as_written() {
    let readme = std::fs::read_to_string(here().join("README.md")).unwrap();
    let first = std::fs::read_to_string(here().join("examples/first.rs")).unwrap();
    let written = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(written, first);
    assert!(first.lines().count() <= 10);
    let server = Fake::start().await;
    assert_eq!(run("first", &[], &server).await, format!("GPU 0 is ours: {GPU}\ngiven back\n"));
    assert_eq!(server.now().released, ["lease-1"]);
}

#[tokio::test]
async fn a_command_finds_the_gpu_of_the_lease() {
    let server = Fake::start().await;
    let said = run("child", &["sh", "-c", "echo on $CUDA_VISIBLE_DEVICES"], &server).await;
    assert_eq!(said, format!("on {GPU}\n"));
    assert_eq!(server.now().released, ["lease-1"]);
}

#[tokio::test]
async fn an_idle_model_says_when_it_works() {
    let server = Fake::start().await;
    assert_eq!(run("evictable", &[], &server).await, "job 1 runs\njob 2 runs\njob 3 runs\n");
    assert_eq!(server.now().executions, ["start", "finish"].repeat(3));
    assert_eq!(server.now().released, ["lease-1"]);
}
