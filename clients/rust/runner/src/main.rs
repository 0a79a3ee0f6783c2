//! Plays one scenario of `test/clients/scenarios.yaml`. `test/clients/README.md` says what the words mean.

mod driver;
mod errors;
mod hold;
mod json;
mod matching;
mod methods;
mod player;
mod stream;

use serde_json::{Value, json};

/// Something is not as the scenario says.
struct Mismatch(String);

type Played<T> = Result<T, Mismatch>;

#[tokio::main]
async fn main() {
    let told: Value = driver::hear();
    let verdict = match player::Player::new(&told).await.play(&told["scenario"]["steps"], "").await {
        Ok(()) => json!({ "passed": true }),
        Err(Mismatch(why)) => json!({ "passed": false, "why": why }),
    };
    driver::say(&verdict);
    // Streams that are still open end with the process.
    std::process::exit(0);
}
