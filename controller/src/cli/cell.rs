//! How single values read in a table.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::admin::client::Row;

/// What stands where there is nothing to say.
const NONE: &str = "-";

/// A field as it is: words as words, lists with commas.
pub fn plain(row: &Row, field: &str) -> String {
    row.get(field).map_or_else(|| NONE.to_owned(), value)
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) if text.is_empty() => NONE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => NONE.to_owned(),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A count, its thousands apart.
pub fn count(row: &Row, field: &str) -> String {
    match row.get(field).and_then(Value::as_u64) {
        Some(number) => thousands(number),
        None => plain(row, field),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Octets, in the unit that keeps three digits or more.
pub fn octets(row: &Row, field: &str) -> String {
    let Some(bytes) = row.get(field).and_then(Value::as_u64) else {
        return plain(row, field);
    };
    match bytes {
        0..=99_999 => thousands(bytes),
        100_000..=9_999_999 => format!("{:.0} kB", bytes as f64 / 1e3),
        10_000_000..=999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A number with one decimal.
pub fn decimal(row: &Row, field: &str) -> String {
    match row.get(field).and_then(Value::as_f64) {
        Some(number) => format!("{number:.1}"),
        None => plain(row, field),
    }
}

/// An RTP source, as 32 bits in hexadecimal, the way analysers show it.
pub fn ssrc(row: &Row, field: &str) -> String {
    match row.get(field).and_then(Value::as_u64) {
        Some(ssrc) => format!("{ssrc:08x}"),
        None => plain(row, field),
    }
}

/// How long ago an RFC 3339 time is.
pub fn ago(row: &Row, field: &str) -> String {
    match instant(row, field).map(|time| SystemTime::now().duration_since(time)) {
        Some(Ok(age)) => format!("{} ago", short(age)),
        Some(Err(_)) => "now".to_owned(),
        None => plain(row, field),
    }
}

/// How far away an RFC 3339 time is.
pub fn until(row: &Row, field: &str) -> String {
    match instant(row, field).map(|time| time.duration_since(SystemTime::now())) {
        Some(Ok(left)) => format!("in {}", short(left)),
        Some(Err(_)) => "now".to_owned(),
        None => plain(row, field),
    }
}

fn instant(row: &Row, field: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(row.get(field)?.as_str()?).ok()
}

/// A time span in its two largest units.
fn short(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..=9 => format!("{:.1}s", span.as_secs_f64()),
        10..=59 => format!("{s}s"),
        60..=3599 => format!("{}m {:02}s", s / 60, s % 60),
        3600..=86_399 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Row {
        Row::from_iter([("x".to_owned(), value)])
    }

    #[test]
    fn values_read_well() {
        let of = |cell: fn(&Row, &str) -> String, value: Value| cell(&row(value), "x");
        for (shown, wanted) in [
            (of(plain, Value::Null), "-"),
            (of(plain, serde_json::json!(["PCMU", "PCMA"])), "PCMU, PCMA"),
            (of(count, 999.into()), "999"),
            (of(count, 1_234_567.into()), "1,234,567"),
            (of(count, Value::Null), "-"),
            (of(octets, 86_000.into()), "86,000"),
            (of(octets, 5_160_000.into()), "5160 kB"),
            (of(octets, 51_600_000.into()), "51.6 MB"),
            (of(decimal, serde_json::json!(0.24)), "0.2"),
            (of(ssrc, 0xdead_u64.into()), "0000dead"),
            (of(until, "1970-01-01T00:00:00Z".into()), "now"),
        ] {
            assert_eq!(shown, wanted);
        }
        assert_eq!(short(Duration::from_millis(1240)), "1.2s");
        assert_eq!(short(Duration::from_secs(3 * 3600 + 62)), "3h 01m");
        assert_eq!(short(Duration::from_secs(90_000)), "1d 01h");
    }
}
