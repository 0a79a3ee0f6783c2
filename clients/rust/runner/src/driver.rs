//! The driver at the other end of stdin and stdout.

use std::io::{Write, stdin, stdout};

use serde_json::{Value, json};

use crate::{Mismatch, Played};

/// One line to the driver.
pub fn say(message: &Value) {
    let mut out = stdout().lock();
    writeln!(out, "{message}").expect("the driver listens");
    out.flush().expect("the driver listens");
}

/// One line from the driver.
pub fn hear() -> Value {
    let mut line = String::new();
    stdin().read_line(&mut line).expect("the driver speaks");
    serde_json::from_str(&line).expect("the driver speaks JSON")
}

/// Has the driver do something to the world, and waits until it is done. A deed is a word, or a word with an argument.
pub async fn ask(deed: &Value) -> Played<()> {
    let (word, argument) = match deed.as_object().and_then(|map| map.iter().next()) {
        Some((word, argument)) => (word.clone(), argument.clone()),
        None => (deed.as_str().unwrap_or_default().to_owned(), Value::Null),
    };
    say(&json!({ "driver": word, "argument": argument }));
    // Leases are renewed meanwhile.
    let answer = tokio::task::spawn_blocking(hear).await.expect("the driver answers");
    if answer["ok"] == true {
        return Ok(());
    }
    Err(Mismatch(format!("the driver could not {word}: {}", answer["why"])))
}
