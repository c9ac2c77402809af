//! Which form of a file a client takes: as it is, or one that was compressed beforehand and stands beside it.
//!
//! RFC 9110 sections 8.4, 12.5.3 and 12.5.5. A sibling counts while it is not older than its file. The order of preference is the client's, and
//! among equals the smaller coding comes first. Nothing is compressed on the fly: that is an amplifier for whoever asks.

use std::fs::Metadata;

use super::open::{Place, Root};
use crate::web::weights::weight;

/// Codings with the end of the sibling's name, the better first.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The codings that a client prefers to the plain form, the best first.
fn preferred(accept_encoding: &[u8]) -> Vec<(&'static str, &'static str)> {
    let plain = weight(accept_encoding, &["identity"]).unwrap_or_default();
    let weights = CODINGS.map(|coding| (weight(accept_encoding, &[coding.0, "*"]).unwrap_or_default(), coding));
    let mut taken: Vec<(u16, (&str, &str))> = Vec::new();
    for (weight, coding) in weights.into_iter().filter(|(weight, _)| *weight > 0 && *weight >= plain) {
        // Of equals the first stays the first.
        taken.insert(taken.partition_point(|(other, _)| *other >= weight), (weight, coding));
    }
    taken.into_iter().map(|(_, coding)| coding).collect()
}

/// What pages load by the name of the coded form and expect decoded, as exports of Unity do. What a program fetches to unpack it itself
/// (`data.json.gz`) or a person to keep it (`backup.tar.gz`) is not among it.
const LOADED_CODED: [&[u8]; 5] = [b".js", b".mjs", b".wasm", b".data", b".symbols.json"];

/// The name without the end of its coding, and the coding, of a file that is coded by its own name: `game.wasm.gz`.
pub(super) fn of_name(name: &[u8]) -> Option<(&[u8], &'static str)> {
    let (coding, inner) =
        CODINGS.iter().find_map(|(coding, end)| Some((*coding, name.strip_suffix(end.as_bytes())?)))?;
    LOADED_CODED.iter().any(|end| inner.ends_with(end)).then_some((inner, coding))
}

/// The sibling to send in the place of a file, and its coding; `None` where it is the file itself. Without the file (`plain`) any sibling is
/// current.
pub(super) fn choose(
    root: &Root,
    names: &[&[u8]],
    plain: Option<&Metadata>,
    accept_encoding: &[u8],
) -> Option<(Place, &'static str)> {
    let (last, above) = names.split_last()?;
    preferred(accept_encoding).into_iter().find_map(|(coding, end)| {
        let name = [*last, end.as_bytes()].concat();
        let place = root.locate(&[above, &[name.as_slice()]].concat()).ok()?;
        let is_current = plain.is_none_or(|plain| place.metadata.modified().ok() >= plain.modified().ok());
        (place.metadata.is_file() && is_current).then_some((place, coding))
    })
}

#[cfg(test)]
mod tests {
    use super::{of_name, preferred};

    #[test]
    fn what_pages_load_by_its_coded_name_is_coded_and_what_people_keep_is_not() {
        for (name, expected) in [
            ("game.framework.js.br", Some(("game.framework.js", "br"))),
            ("game.wasm.gz", Some(("game.wasm", "gzip"))),
            ("game.data.br", Some(("game.data", "br"))),
            ("game.symbols.json.gz", Some(("game.symbols.json", "gzip"))),
            ("data.json.gz", None),
            ("backup.tar.gz", None),
            ("notes.gz", None),
            ("a.br", None),
            ("game.js", None),
        ] {
            let expected = expected.map(|(inner, coding): (&str, _)| (inner.as_bytes(), coding));
            assert_eq!(of_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn rfc9110_12_5_3_the_client_chooses_and_nothing_it_does_not_name_is_sent() {
        for (field, expected) in [
            ("", &[][..]),
            ("br, gzip", &["br", "gzip"]),
            ("gzip, br", &["br", "gzip"]),
            ("gzip, br;q=0.5", &["gzip", "br"]),
            ("GZIP", &["gzip"]),
            ("gzip;q=0, br;q=0", &[]),
            ("*", &["br", "gzip"]),
            ("*;q=0.1, br;q=0", &["gzip"]),
            ("gzip;q=0.5, identity", &[]),
            ("gzip;q=0.5, identity;q=0.5", &["gzip"]),
            ("deflate, zstd, gzipx", &[]),
        ] {
            let codings: Vec<&str> = preferred(field.as_bytes()).into_iter().map(|(coding, _)| coding).collect();
            assert_eq!(codings, expected, "{field}");
        }
    }
}
