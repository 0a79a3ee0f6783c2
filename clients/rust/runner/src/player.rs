//! The world of one scenario, and the words that change it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sluice::{Client, Connector, Lease};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::hold::Hold;
use crate::json::from_message;
use crate::matching::{matches, resolve, short};
use crate::methods::{call, open};
use crate::stream::{Messages, read};
use crate::{Mismatch, Played, driver, errors};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(50);

/// What came of a step: an answer, or an error as data. A hold brings its lease, under its name.
struct Came {
    answer: Result<Value, Value>,
    lease: Option<(String, Lease)>,
}

impl From<Result<Value, Value>> for Came {
    fn from(answer: Result<Value, Value>) -> Self {
        Self { answer, lease: None }
    }
}

pub struct Player {
    saved: Value,
    clients: HashMap<String, Client>,
    first: String,
    streams: HashMap<String, (String, Box<dyn Messages>)>,
    holds: HashMap<String, Hold>,
    background: HashMap<String, JoinHandle<Came>>,
    marks: HashMap<String, Instant>,
}

impl Player {
    pub async fn new(told: &Value) -> Self {
        let doors = &told["doors"];
        let named = told["scenario"]["clients"].as_object().cloned();
        let named = named.unwrap_or_else(|| Map::from_iter([("main".to_owned(), json!({}))]));
        let mut clients = HashMap::new();
        for (name, how) in &named {
            let door = how["door"].as_str().unwrap_or("grpc");
            let connector = Connector::new().address(doors[door].as_str().expect("there is such a door"));
            let connector = match how["keepalive_ms"].as_u64() {
                Some(keepalive) => connector.keepalive(Duration::from_millis(keepalive)),
                None => connector,
            };
            clients.insert(name.clone(), connector.connect().await.expect("the door has an address"));
        }
        Self {
            saved: json!({ "runner": { "pid": std::process::id() }, "doors": doors }),
            clients,
            first: named.keys().next().expect("there is a client").clone(),
            streams: HashMap::new(),
            holds: HashMap::new(),
            background: HashMap::new(),
            marks: HashMap::new(),
        }
    }

    /// Plays steps, one after the other.
    pub async fn play(&mut self, steps: &Value, path: &str) -> Played<()> {
        for (index, step) in (1..).zip(steps.as_array().expect("steps are a list")) {
            let word = word_of(step);
            let place = format!("{path}{index}");
            if word == "repeat" {
                for turn in 0..step["repeat"].as_u64().unwrap_or_default() {
                    Box::pin(self.play(&step["steps"], &format!("{place}[{turn}]."))).await?;
                }
                continue;
            }
            let done = match resolve(step, &self.saved) {
                Ok(step) => self.step(word, &step).await,
                Err(failure) => Err(failure),
            };
            done.map_err(|Mismatch(why)| Mismatch(format!("step {place} ({word} {}): {why}", step[word])))?;
        }
        Ok(())
    }

    async fn step(&mut self, word: &str, step: &Value) -> Played<()> {
        let argument = &step[word];
        let name = argument.as_str().unwrap_or_default();
        match word {
            "call" => self.call(step, name).await,
            "await" => self.wait(step, name).await,
            "open" => {
                let limit = milliseconds(step, "deadline_ms");
                let stream = open(self.client(step)?, name, &step["with"], limit)?;
                self.streams.insert(text(step, "as"), (self.client_name(step), stream));
                Ok(())
            }
            "next" => self.until(step, name, 1).await,
            "until" => self.until(step, name, step["at_most"].as_u64().unwrap_or(u64::MAX)).await,
            "ends" => self.ends(step, name).await,
            "cancel" => self.streams.remove(name).map(|_| ()).ok_or_else(|| missing(name)),
            "drop" => {
                self.streams.retain(|_, (client, _)| client != name);
                self.clients.remove(name).map(|_| ()).ok_or_else(|| missing(name))
            }
            "driver" => driver::ask(argument).await,
            "hold" => self.hold(step, argument).await,
            "told" => self.told(step, name).await,
            "environment" => self.environment(step),
            "release" => {
                let lease = self.holds.get_mut(name).and_then(|hold| hold.lease.take());
                let released = lease.ok_or_else(|| missing(name))?.release().await;
                released.map_err(|error| Mismatch(error.to_string()))
            }
            "run" => {
                let running = self.run(step, argument)?;
                self.start_or_judge(step, running).await
            }
            "mark" => {
                self.marks.insert(name.to_owned(), Instant::now());
                Ok(())
            }
            "elapsed" => {
                let since = self.marks.get(name).ok_or_else(|| missing(name))?;
                matches(&step["expect"], &json!(since.elapsed().as_secs_f64() * 1000.0), "ms")
            }
            "check" => matches(&step["expect"], argument, "value"),
            _ => Err(Mismatch(format!("the runner does not know the word {word}"))),
        }
    }

    fn client_name(&self, step: &Value) -> String {
        step["client"].as_str().unwrap_or(&self.first).to_owned()
    }

    fn client(&self, step: &Value) -> Played<&Client> {
        let name = self.client_name(step);
        self.clients.get(&name).ok_or_else(|| missing(&name))
    }

    /// Compares what came of a step with expect or error, and saves it.
    fn judge(&mut self, step: &Value, came: Came) -> Played<()> {
        let wanted = step.get("error");
        let answer = match (came.answer, wanted) {
            (Ok(answer), None) => {
                matches(step.get("expect").unwrap_or(&json!({})), &answer, "answer")?;
                answer
            }
            (Err(failure), Some(wanted)) => {
                matches(wanted, &failure, "error")?;
                failure
            }
            (Ok(answer), Some(_)) => return Err(Mismatch(format!("wanted an error, got {}", short(&answer)))),
            (Err(failure), None) => return Err(Mismatch(format!("failed: {}", short(&failure)))),
        };
        if let Some((name, lease)) = came.lease {
            self.saved[name.as_str()] = answer.clone();
            self.holds.get_mut(&name).ok_or_else(|| missing(&name))?.lease = Some(lease);
        }
        self.save(step, answer);
        Ok(())
    }

    fn save(&mut self, step: &Value, answer: Value) {
        if let Some(name) = step["save"].as_str() {
            self.saved[name] = answer;
        }
    }

    async fn start_or_judge(
        &mut self,
        step: &Value,
        acting: impl Future<Output = Came> + Send + 'static,
    ) -> Played<()> {
        if let Some(name) = step["in_background"].as_str() {
            self.background.insert(name.to_owned(), tokio::spawn(acting));
            return Ok(());
        }
        let came = acting.await;
        self.judge(step, came)
    }

    async fn call(&mut self, step: &Value, name: &str) -> Played<()> {
        let limit = milliseconds(step, "deadline_ms").unwrap_or(PATIENCE);
        let client = self.client(step)?.clone();
        let act = || call(&client, name, &step["with"], limit);
        let start = Instant::now();
        if let Some(long) = milliseconds(step, "for_ms") {
            while start.elapsed() < long {
                let came = act()?.await.map_err(errors::of_call);
                self.judge(step, came.into())?;
                sleep(SHORT).await;
            }
        }
        if let Some(long) = milliseconds(step, "until_ms") {
            loop {
                let came = act()?.await.map_err(errors::of_call);
                match self.judge(step, came.into()) {
                    Err(_) if start.elapsed() < long => sleep(SHORT).await,
                    verdict => return verdict,
                }
            }
        }
        let calling = act()?;
        self.start_or_judge(step, async { Came::from(calling.await.map_err(errors::of_call)) }).await
    }

    async fn wait(&mut self, step: &Value, name: &str) -> Played<()> {
        let task = self.background.remove(name).ok_or_else(|| missing(name))?;
        let within = milliseconds(step, "within_ms").unwrap_or(PATIENCE);
        let came = timeout(within, task).await.map_err(|_| Mismatch("it is not over in time".to_owned()))?;
        self.judge(step, came.map_err(|failure| Mismatch(failure.to_string()))?)
    }

    async fn until(&mut self, step: &Value, name: &str, at_most: u64) -> Played<()> {
        let end = Instant::now() + milliseconds(step, "within_ms").unwrap_or(PATIENCE);
        let mut last = Value::Null;
        for turn in 1.. {
            let (_, stream) = self.streams.get_mut(name).ok_or_else(|| missing(name))?;
            let message = match read(stream, end.saturating_duration_since(Instant::now())).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => {
                    return Err(Mismatch(format!("the stream ended; the last message was {}", short(&last))));
                }
                Ok(Err(status)) => {
                    let failure = short(&errors::of_call(status));
                    return Err(Mismatch(format!("the stream failed: {failure}; before: {}", short(&last))));
                }
                Err(Mismatch(why)) => return Err(Mismatch(format!("{why}; the last message was {}", short(&last)))),
            };
            last = message;
            match matches(&step["expect"], &last, "message") {
                Ok(()) => break,
                Err(failure) if turn >= at_most => return Err(failure),
                Err(_) => {}
            }
        }
        self.save(step, last);
        Ok(())
    }

    async fn ends(&mut self, step: &Value, name: &str) -> Played<()> {
        let within = milliseconds(step, "within_ms").unwrap_or(PATIENCE);
        let (_, stream) = self.streams.get_mut(name).ok_or_else(|| missing(name))?;
        let came = match read(stream, within).await? {
            Ok(Some(message)) => {
                return Err(Mismatch(format!("wanted the end of the stream, got {}", short(&message))));
            }
            Ok(None) => Ok(json!({})),
            Err(status) => Err(errors::of_call(status)),
        };
        self.judge(step, came.into())
    }

    async fn hold(&mut self, step: &Value, fields: &Value) -> Played<()> {
        let empty = Map::new();
        let (hold, holding) = Hold::new(self.client(step)?, fields.as_object().unwrap_or(&empty))?;
        let name = text(step, "as");
        self.holds.insert(name.clone(), hold);
        let acting = async move {
            match holding.await.expect("a hold does not panic") {
                Ok((lease, answer)) => Came { answer: Ok(answer), lease: Some((name, lease)) },
                Err(error) => Err(errors::of_client(&error)).into(),
            }
        };
        self.start_or_judge(step, acting).await
    }

    async fn told(&mut self, step: &Value, name: &str) -> Played<()> {
        let wanted = text(step, "event");
        let within = milliseconds(step, "within_ms").unwrap_or(PATIENCE);
        let hold = self.holds.get_mut(name).ok_or_else(|| missing(name))?;
        let expected = step.get("expect").cloned().unwrap_or_else(|| json!({}));
        let hearing = async {
            while let Some((event, news)) = hold.told.recv().await {
                if event == wanted && matches(&expected, &news, "news").is_ok() {
                    return Ok(news);
                }
            }
            Err(Mismatch(format!("{wanted} was never told")))
        };
        let news = timeout(within, hearing).await.map_err(|_| Mismatch(format!("{wanted} was not told in time")))??;
        self.save(step, news);
        Ok(())
    }

    fn environment(&self, step: &Value) -> Played<()> {
        let mut found: Map<String, Value> = std::env::vars().map(|(name, value)| (name, value.into())).collect();
        if let Some(lease) = self.holds.get(&text(step, "hold")).and_then(|hold| hold.lease.as_ref()) {
            found.extend(lease.env().iter().map(|(name, value)| (name.clone(), value.clone().into())));
        }
        matches(&step["expect"], &found.into(), "environment")
    }

    fn run(&self, step: &Value, fields: &Value) -> Played<impl Future<Output = Came> + Send + use<>> {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut plugin = self.client(step)?.plugin(text(fields, "plugin")).policy(text(fields, "policy"));
        if let Some(arguments) = fields.get("arguments") {
            plugin = plugin.arguments(crate::json::request("google.protobuf.Struct", arguments)?);
        }
        let plugin = plugin.on_event(move |message| {
            let told = from_message("sluice.v1.StreamExecutionResponse", message);
            let event = told.as_object().and_then(|fields| fields.keys().find(|name| *name != "execution_id"));
            let _ = tell.send(event.cloned().unwrap_or_default());
        });
        Ok(async move {
            let answer = plugin.execute().await;
            drop(plugin);
            let mut events = Vec::new();
            while let Some(event) = told.recv().await {
                events.push(event);
            }
            let result = answer.map(|result| from_message("google.protobuf.Value", &result));
            result
                .map(|result| json!({ "result": result, "events": events }))
                .map_err(|error| errors::of_client(&error))
                .into()
        })
    }
}

fn word_of(step: &Value) -> &str {
    step.as_object().and_then(|fields| fields.keys().next()).map_or("", String::as_str)
}

fn text(step: &Value, field: &str) -> String {
    step[field].as_str().unwrap_or_default().to_owned()
}

fn milliseconds(step: &Value, field: &str) -> Option<Duration> {
    step[field].as_f64().map(|time| Duration::from_secs_f64(time / 1000.0))
}

fn missing(name: &str) -> Mismatch {
    Mismatch(format!("there is no {name}"))
}
