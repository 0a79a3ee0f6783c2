//! Writes `src/generated` of the client anew.

use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    Ok(fs::write(codegen::committed(), codegen::generate()?)?)
}
