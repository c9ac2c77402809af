//! Fields that the command adds to every response: those of `--header` and `--coi`.

use doorway::{Application, Body, Environ, Headers, StartResponse};

/// Adds fields to an application's responses.
pub struct Fields<A> {
    inner: A,
    fields: Headers,
}

impl<A: Application> Fields<A> {
    /// With `cors` pages of other origins may load what is isolated here, too.
    pub fn new(inner: A, own: &Headers, cors: bool, coi: bool) -> Fields<A> {
        let mut fields = Headers::new();
        if coi {
            fields.add("Cross-Origin-Opener-Policy", "same-origin");
            fields.add("Cross-Origin-Embedder-Policy", "require-corp");
            // An isolated page of another origin may load this only where it says so.
            fields.add("Cross-Origin-Resource-Policy", if cors { "cross-origin" } else { "same-origin" });
        }
        // What the user writes wins.
        own.keys().for_each(|name| fields.remove(name));
        fields.extend(own);
        Fields { inner, fields }
    }
}

impl<A: Application> Application for Fields<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let fields = self.fields.clone();
        start_response.on_start(move |_, headers| {
            fields.keys().for_each(|name| headers.remove(name));
            headers.extend(&fields);
        });
        self.inner.call(environ, start_response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorway::app::demo;
    use doorway::testing::Request;

    #[test]
    fn isolation_needs_two_fields_and_what_the_user_writes_wins() {
        let own = Headers::from(&[("cross-origin-resource-policy", "same-site"), ("X-Own", "1")]);
        let headers = Request::get("/").call(&Fields::new(demo, &own, true, true)).headers;
        for (name, value) in [
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
            ("Cross-Origin-Resource-Policy", "same-site"),
            ("X-Own", "1"),
        ] {
            assert_eq!(headers.get_all(name).collect::<Vec<_>>(), [value], "{name}");
        }
    }
}
