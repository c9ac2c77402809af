//! Pages of other sites: which may read (`Cors`), and which may not even ask (`HostAllowList::check_origin`, `local_only`).

use std::time::Duration;

use doorway::middleware::{Cors, HostAllowList, local_only};
use doorway::testing::{Request, Response};
use doorway::{Application, Environ, app, simple};

const OURS: &str = "https://app.example.com";

fn field(response: &Response, name: &str) -> Option<String> {
    response.headers.get(name).map(|value| value.into_owned())
}

fn preflight(origin: &str, application: &impl Application) -> Response {
    let request = Request::new("OPTIONS", "/").header("Origin", origin);
    request.header("Access-Control-Request-Method", "PUT").call(application)
}

#[test]
fn fetch_3_2_5_a_preflight_is_answered_for_listed_origins_and_the_application_does_not_see_it() {
    let application = simple(|_: &Environ| -> doorway::Response { panic!("the application was called") });
    let application = Cors::new(application, [OURS, "http://localhost:5173"])
        .methods(["GET", "PUT"])
        .headers(["Content-Type", "Authorization"])
        .max_age(Duration::from_secs(600));
    let allowed = preflight(OURS, &application);
    assert_eq!((allowed.status.code(), &*allowed.text()), (204, ""));
    for (name, value) in [
        ("Access-Control-Allow-Origin", OURS),
        ("Access-Control-Allow-Methods", "GET, PUT"),
        ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ] {
        assert_eq!(field(&allowed, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(field(&allowed, "Access-Control-Allow-Credentials"), None);
    for origin in
        ["https://app.example.com:444", "http://app.example.com", "https://app.example.com.evil.test", "null", ""]
    {
        let refused = preflight(origin, &application);
        assert_eq!((refused.status.code(), field(&refused, "Access-Control-Allow-Origin")), (403, None), "{origin}");
    }
}

#[test]
fn fetch_3_2_3_the_fields_stand_on_every_answer_of_the_application_and_vary_says_so() {
    let answer =
        |environ: &Environ| doorway::Response::text("x").with_status(environ.query_string().to_owned() + " Any");
    let application = Cors::new(simple(answer), [OURS]).credentials().expose(["ETag", "Location"]);
    for status in ["200", "404", "500"] {
        let response = Request::get(&format!("/?{status}")).header("Origin", OURS).call(&application);
        assert_eq!(field(&response, "Access-Control-Allow-Origin").as_deref(), Some(OURS));
        assert_eq!(field(&response, "Access-Control-Allow-Credentials").as_deref(), Some("true"));
        assert_eq!(field(&response, "Access-Control-Expose-Headers").as_deref(), Some("ETag, Location"));
        assert_eq!(field(&response, "Vary").as_deref(), Some("Origin"));
    }
    for origin in [None, Some("https://evil.example")] {
        let request = origin.map_or(Request::get("/?200"), |origin| Request::get("/?200").header("Origin", origin));
        let response = request.call(&application);
        assert_eq!((response.status.code(), field(&response, "Access-Control-Allow-Origin")), (200, None));
        assert_eq!(field(&response, "Vary").as_deref(), Some("Origin"), "a cache must not give it to {OURS}");
    }
    let varies = |_: &Environ| doorway::Response::text("x").with_header("Vary", "Accept");
    let response = Request::get("/").header("Origin", OURS).call(&Cors::new(simple(varies), [OURS]));
    assert_eq!(response.headers.get_all("Vary").collect::<Vec<_>>(), ["Accept", "Origin"]);
    let options = Request::new("OPTIONS", "/?200").header("Origin", OURS).call(&application);
    assert_eq!((options.status.code(), &*options.text()), (200, "x"), "without the method it is no preflight");
}

#[test]
fn fetch_3_2_any_origin_is_a_star_which_goes_with_no_credentials_and_varies_by_nothing() {
    let application = Cors::any(app::demo);
    let response = Request::get("/").header("Origin", "null").call(&application);
    assert_eq!(
        (field(&response, "Access-Control-Allow-Origin").as_deref(), field(&response, "Vary")),
        (Some("*"), None)
    );
    assert_eq!(
        field(&preflight("https://any.example", &application), "Access-Control-Allow-Methods").as_deref(),
        Some("GET, HEAD, POST")
    );
}

/// The status of a request to localhost with one more field.
fn status(application: &impl Application, method: &str, name: &str, value: &str) -> u16 {
    Request::new(method, "/").header(name, value).call(application).status.code()
}

#[test]
fn rfc6454_7_a_page_of_another_site_reaches_nothing_behind_local_only() {
    let application = local_only(app::demo);
    for origin in [
        "http://localhost",
        "http://localhost:8000",
        "https://LOCALHOST:1",
        "http://tool.localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            assert_eq!(status(&application, method, "Origin", origin), 200, "{method} {origin}");
        }
    }
    for origin in [
        "https://evil.example",
        "http://evil.example:8000",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://notlocalhost",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.2",
        "null",
        "",
        "localhost",
        "ftp://localhost",
        "http:localhost",
        "http://",
        "http://localhost http://evil.example",
        "chrome-extension://localhost",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"] {
            assert_eq!(status(&application, method, "Origin", origin), 403, "{method} {origin}");
        }
        assert_eq!(status(&application, "OPTIONS", "Origin", origin), 200, "{origin}");
    }
    assert_eq!(status(&application, "GET", "Host", "rebound.evil.example:8000"), 421);
}

#[test]
fn fetch_metadata_what_another_site_sends_without_an_origin_is_refused_where_it_may_change_something() {
    let application = local_only(app::demo);
    for (site, get, post) in
        [("same-origin", 200, 200), ("none", 200, 200), ("same-site", 200, 403), ("cross-site", 200, 403)]
    {
        assert_eq!(status(&application, "GET", "Sec-Fetch-Site", site), get, "{site}");
        assert_eq!(status(&application, "POST", "Sec-Fetch-Site", site), post, "{site}");
    }
    // No browser: curl, a script, another server.
    assert_eq!(Request::post("/", "").call(&application).status.code(), 200);
}

#[test]
fn an_origin_is_checked_by_the_same_list_as_the_host_and_only_where_that_is_asked_for() {
    let list = || HostAllowList::new(app::demo, ["localhost", "app.example.com:443"]);
    let (without, with) = (list(), list().check_origin());
    assert_eq!(status(&without, "POST", "Origin", "https://evil.example"), 200);
    assert_eq!(status(&with, "POST", "Origin", "https://evil.example"), 403);
    assert_eq!(status(&with, "POST", "Origin", "https://app.example.com"), 200);
    assert_eq!(status(&with, "POST", "Origin", "http://app.example.com"), 403, "its port is 80");
    // A preflight comes through, so that a list of origins inside can answer it.
    let application = HostAllowList::new(Cors::new(app::demo, [OURS]), ["localhost"]).check_origin();
    assert_eq!(preflight(OURS, &application).status.code(), 204);
}
