//! The error stream of the gateway: `wsgi.errors`.
//!
//! PEP 3333, "Input and Error Streams" (P-EL-01 to P-EL-06): text with `\n`, any Unicode, one call written as one piece.

use std::fmt;
use std::sync::Arc;

/// What a server puts behind [`Errors`].
pub trait ErrorStream: Send + Sync {
    /// Writes one piece of text. It may be called by several threads; pieces are not mixed.
    fn write(&self, text: &str);
}

/// Where an application writes what the operator should read: at a [`Server`](crate::Server), its log.
///
/// ```
/// use doorway::{Body, Environ, StartResponse};
///
/// fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     write!(environ.errors(), "no such customer: {}", environ.path());
///     start_response.start("404 Not Found", &[]);
///     Body::empty()
/// }
/// # let response = doorway::testing::Request::get("/7").call(&application);
/// # assert_eq!(response.errors, "no such customer: /7");
/// ```
///
/// It belongs to the server, so there is nothing to close it with:
///
/// ```compile_fail,E0599
/// fn application(environ: &doorway::Environ) {
///     environ.errors().close(); // P-EL-04
/// }
/// ```
#[derive(Clone)]
pub struct Errors {
    stream: Arc<dyn ErrorStream>,
}

impl Errors {
    /// An error stream over what a server writes to.
    pub fn new(stream: Arc<dyn ErrorStream>) -> Errors {
        Errors { stream }
    }

    /// Writes text in one piece.
    pub fn write(&self, text: &str) {
        self.stream.write(text);
    }

    /// Writes several texts in one piece, so that no other thread's text comes between them.
    pub fn writelines<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) {
        self.stream.write(&texts.into_iter().fold(String::new(), |all, text| all + text.as_ref()));
    }

    /// What `write!` calls: the whole text goes out in one piece.
    pub fn write_fmt(&self, text: fmt::Arguments<'_>) {
        self.stream.write(&text.to_string());
    }

    /// Does nothing: every write is handed over before it returns (P-EL-03).
    pub fn flush(&self) {}
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errors")
    }
}

/// Swallows everything: the stream of an environ that no server has filled.
pub(crate) struct Silent;

impl ErrorStream for Silent {
    fn write(&self, _text: &str) {}
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[derive(Default)]
    struct Pieces(Mutex<Vec<String>>);

    impl ErrorStream for Pieces {
        fn write(&self, text: &str) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        }
    }

    #[test]
    fn p_el_01_05_every_way_to_write_hands_the_whole_text_over_in_one_piece() {
        let pieces = Arc::new(Pieces::default());
        let errors = Errors::new(Arc::<Pieces>::clone(&pieces));
        errors.write("as it is\n");
        errors.writelines(["one\n", "two\n"]);
        errors.writelines([String::from("three")]);
        write!(errors, "plain");
        let one = 1;
        write!(errors, "{one} and two");
        errors.clone().flush();
        let written = pieces.0.lock().unwrap();
        assert_eq!(*written, ["as it is\n", "one\ntwo\n", "three", "plain", "1 and two"]);
        assert_eq!(format!("{errors:?}"), "Errors");
    }
}
