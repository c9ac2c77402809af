//! What a client prefers: the members of `Accept` and `Accept-Encoding` with their weights (RFC 9110 section 12.4.2).

/// The weight from 0 to 1000 of the first of `names` that a field has; `None` where it has none of them.
///
/// `names` stand from the exact one to the widest, as in `application/json`, `application/*`, `*/*`: the exact one counts (section 12.5.1).
pub(crate) fn weight(field: &[u8], names: &[&str]) -> Option<u16> {
    names.iter().find_map(|name| {
        let is_named = |member: &&[u8]| first_part(member).eq_ignore_ascii_case(name.as_bytes());
        field.split(|byte| *byte == b',').find(is_named).map(weight_of)
    })
}

/// The name of a member, without its parameters.
fn first_part(member: &[u8]) -> &[u8] {
    member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The weight of a member: 1000 where it has none, 0 where it has one that is no number.
fn weight_of(member: &[u8]) -> u16 {
    let parameters = member.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let mut values = parameters.filter_map(|text| text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q=")));
    values.next().map_or(1000, |value| thousandths(value).unwrap_or_default())
}

// qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let part = [100, 10, 1].iter().zip(digits).map(|(place, digit)| place * u16::from(digit & 15)).sum();
    match (whole, part) {
        (b'0', part) => Some(part),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn rfc9110_12_4_2_weights_have_three_digits_at_most_and_a_wrong_one_is_nothing() {
        for (value, expected) in [
            ("gzip", 1000),
            ("gzip;q=1", 1000),
            ("gzip;q=1.000", 1000),
            ("gzip ; q=0.5", 500),
            ("gzip;Q=0.123", 123),
            ("gzip;q=0.", 0),
            ("gzip;q=0", 0),
            ("gzip;q=0.000", 0),
            ("gzip;q=1.1", 0),
            ("gzip;q=0.1234", 0),
            ("gzip;q=-1", 0),
            ("gzip;q=", 0),
            ("gzip;q=2", 0),
            ("gzip;x=1;q=0.2", 200),
        ] {
            assert_eq!(weight(value.as_bytes(), &["gzip"]), Some(expected), "{value}");
        }
    }

    #[test]
    fn rfc9110_12_5_1_the_exact_name_counts_before_the_wide_one() {
        let names = ["application/json", "application/*", "*/*"];
        assert_eq!(weight(b"*/*;q=0.1, application/*;q=0.2, Application/JSON;q=0.3", &names), Some(300));
        assert_eq!(weight(b"*/*;q=0.1, application/*;q=0.2, text/html", &names), Some(200));
        assert_eq!(weight(b"*/*;q=0.1,,", &names), Some(100));
        assert_eq!(weight(b"text/html, application/jsonx", &names), None);
        assert_eq!(weight(b"", &names), None);
    }
}
