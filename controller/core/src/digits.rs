//! Numbers as SIP and SDP write them.

/// A decimal number that fits. Digits only: `str::parse` would take a sign.
pub(crate) fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
