//! Messages as text: octets in hexadecimal, from `#` to the line's end a comment.

use std::fs;

use sidestep_core::h248::binary;
use sidestep_core::h248::model::Message;

/// The octets of `tests/data/h248/binary/NAME.hex`.
pub fn octets(name: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/data/h248/binary/{name}.hex");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    from_hex(&text)
}

/// Octets written as in a fixture.
pub fn from_hex(text: &str) -> Vec<u8> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect()
}

/// All fixtures, with their names.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    ["add_request", "add_reply", "extensions"]
        .into_iter()
        .map(|name| (name, octets(name)))
        .collect()
}

pub fn parse(octets: &[u8]) -> Message<'_> {
    binary::parse(octets).unwrap_or_else(|error| panic!("{error}"))
}

/// What a message says, apart from where it says it.
pub fn meaning(message: &Message<'_>) -> serde_json::Value {
    serde_json::to_value(message).unwrap()
}
