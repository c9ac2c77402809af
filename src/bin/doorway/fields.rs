//! Fields that the command adds to every response: those of `--header`, `--cors` and `--coi`.

use doorway::{Application, Body, Environ, Headers, StartResponse};

/// Adds fields to an application's responses, and answers preflight requests where any site may read it.
pub struct Fields<A> {
    inner: A,
    fields: Headers,
    cors: bool,
}

impl<A: Application> Fields<A> {
    pub fn new(inner: A, own: &Headers, cors: bool, coi: bool) -> Fields<A> {
        let mut fields = Headers::new();
        if cors {
            fields.add("Access-Control-Allow-Origin", "*");
            // Of the rest a script sees a handful of fields only, without those by which it fetches the parts of a file.
            fields.add("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag, Location");
        }
        if coi {
            fields.add("Cross-Origin-Opener-Policy", "same-origin");
            fields.add("Cross-Origin-Embedder-Policy", "require-corp");
            // An isolated page of another origin may load this only where it says so.
            fields.add("Cross-Origin-Resource-Policy", if cors { "cross-origin" } else { "same-origin" });
        }
        // What the user writes wins.
        own.keys().for_each(|name| fields.remove(name));
        fields.extend(own);
        Fields { inner, fields, cors }
    }
}

impl<A: Application> Application for Fields<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let fields = self.fields.clone();
        if !fields.is_empty() {
            start_response.on_start(move |_, headers| {
                fields.keys().for_each(|name| headers.remove(name));
                headers.extend(&fields);
            });
        }
        let asks_first = environ.method() == "OPTIONS" && environ.header("Access-Control-Request-Method").is_some();
        if !self.cors || !asks_first {
            return self.inner.call(environ, start_response);
        }
        // `*` would not cover Authorization, so what is asked for is allowed by its name.
        let method = environ.header("Access-Control-Request-Method").unwrap_or_default();
        let names = environ.header("Access-Control-Request-Headers").unwrap_or_default();
        let allowed = [
            ("Access-Control-Allow-Methods", &*method),
            ("Access-Control-Allow-Headers", &*names),
            ("Access-Control-Max-Age", "600"),
            ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"),
        ];
        start_response.start("204 No Content", &allowed);
        Body::empty()
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
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag, Location"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
            ("Cross-Origin-Resource-Policy", "same-site"),
            ("X-Own", "1"),
        ] {
            assert_eq!(headers.get_all(name).collect::<Vec<_>>(), [value], "{name}");
        }
    }

    #[test]
    fn a_preflight_request_is_allowed_what_it_asks_for_only_with_cors() {
        let ask = |cors| {
            let request = Request::new("OPTIONS", "/").header("Access-Control-Request-Method", "PUT");
            let request = request.header("Access-Control-Request-Headers", "authorization");
            request.call(&Fields::new(demo, &Headers::new(), cors, false))
        };
        let allowed = ask(true);
        assert_eq!((allowed.status.code(), allowed.text()), (204, String::new()));
        assert_eq!(allowed.headers.get("Access-Control-Allow-Headers").as_deref(), Some("authorization"));
        assert_eq!(allowed.headers.get("Access-Control-Allow-Methods").as_deref(), Some("PUT"));
        let passed = ask(false);
        assert!(passed.status.code() == 200 && !passed.headers.contains("Access-Control-Allow-Origin"));
    }
}
