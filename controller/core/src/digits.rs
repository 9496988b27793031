//! Numbers as SIP and SDP write them.

/// A decimal number that fits. Digits only: `str::parse` would take a sign.
#[inline]
pub(crate) fn number<T: TryFrom<u64>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    // What 19 digits say fits.
    let (first, rest) = digits.split_at(digits.len().min(19));
    for &digit in first {
        value = value * 10 + value_of(digit)?;
    }
    for &digit in rest {
        value = value.checked_mul(10)?.checked_add(value_of(digit)?)?;
    }
    T::try_from(value).ok()
}

#[inline]
fn value_of(digit: u8) -> Option<u64> {
    let value = digit.wrapping_sub(b'0');
    (value <= 9).then_some(u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn digits_only_and_what_fits() {
        for (digits, expected) in [
            ("0", Some(0)),
            ("000000000000000000000000255", Some(255)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("184467440737095516150", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("1:", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(digits.as_bytes()), expected, "{digits}");
        }
        assert_eq!(number::<u8>(b"256"), None);
    }
}
