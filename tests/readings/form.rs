//! What doorway makes of a form with files, in the form of the naive reading.

use std::io::{self, BufRead, Read};

use doorway::Cause;
use doorway::multipart::{Limits, Parts};

use crate::reference::multipart::{Fault, Part, read_form};

/// The parts before the first error, and its cause.
pub fn parts_with(content: impl BufRead, boundary: &str, limits: Limits) -> (Vec<Part>, Option<Cause>) {
    let mut found = Vec::new();
    let result = (|| {
        let mut parts = Parts::new(content, boundary.as_bytes(), limits)?;
        while let Some(mut part) = parts.next_part()? {
            let mut read = Vec::new();
            part.read_to_end(&mut read)?;
            found.push((part.name().to_owned(), part.file_name().map(str::to_owned), read));
        }
        io::Result::Ok(())
    })();
    (found, result.err().map(|error| Cause::of(&error).unwrap_or_else(|| panic!("{error}"))))
}

/// What doorway says and what the naive reading says are the same.
pub fn assert_agree(content: &[u8], boundary: &str, (found, cause): &(Vec<Part>, Option<Cause>)) {
    let (expected, fault) = read_form(content, boundary);
    let expected_cause = fault.map(|fault| match fault {
        Fault::Truncated => Cause::MultipartTruncated,
        Fault::Boundary => Cause::MultipartBoundary,
        Fault::Head => Cause::PartHead,
    });
    // The naive reading undoes no escape.
    if !content.contains(&b'\\') {
        assert_eq!((found, *cause), (&expected, expected_cause), "{}", content.escape_ascii());
    }
}
