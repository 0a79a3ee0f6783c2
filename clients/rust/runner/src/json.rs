//! Messages as the scenarios see them: JSON with the names of the proto.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::{Mismatch, Played};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let files = codegen::descriptors().expect("the contract is at hand");
    DescriptorPool::from_file_descriptor_set(files).expect("the contract is whole")
});

fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect("the contract has the message")
}

/// The full name of the service that has the method, with the names of its request and its answer. "Allocate" or
/// "ExecutorService.GetPlugin".
pub fn method(name: &str) -> Played<(String, String, String)> {
    let (service, method) = name.rsplit_once('.').unwrap_or(("", name));
    for candidate in POOL.services().filter(|candidate| service.is_empty() || candidate.name() == service) {
        if let Some(found) = candidate.methods().find(|found| found.name() == method) {
            let (input, output) = (found.input(), found.output());
            return Ok((found.name().to_owned(), input.full_name().to_owned(), output.full_name().to_owned()));
        }
    }
    Err(Mismatch(format!("there is no method {name}")))
}

/// A request from its JSON.
pub fn request<T: Message + Default>(name: &str, fields: &Value) -> Played<T> {
    let fields = if fields.is_null() { "{}".to_owned() } else { fields.to_string() };
    let mut text = serde_json::Deserializer::from_str(&fields);
    let message = DynamicMessage::deserialize_with_options(descriptor(name), &mut text, &DeserializeOptions::new())
        .map_err(|error| Mismatch(format!("{fields}: {error}")))?;
    T::decode(message.encode_to_vec().as_slice()).map_err(|error| Mismatch(error.to_string()))
}

/// A message of the contract as JSON; name is its full name.
pub fn from_message(name: &str, message: &impl Message) -> Value {
    let message =
        DynamicMessage::decode(descriptor(name), message.encode_to_vec().as_slice()).expect("it is such a message");
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("every message has JSON")
}

/// Several messages as JSON.
pub fn from_messages<'a, M: Message + 'a>(name: &str, messages: impl IntoIterator<Item = &'a M>) -> Value {
    messages.into_iter().map(|message| from_message(name, message)).collect()
}
