//! Promise: pipelined requests are answered in order, whole and apart, whatever kinds of answers stand side by side. Answers of a quick
//! application are gathered into one write, so every mixture must be tried: small, large, listed, streamed, failed and refused ones.

mod support;

use std::io::{Read, Write};

use doorway::{Body, Environ, StartResponse};
use support::serve;

/// Answers with the number in the path, in the form that its last digit says.
fn application(
    environ: &Environ,
    start_response: &mut StartResponse,
) -> Result<Body, Box<dyn std::error::Error + Send + Sync>> {
    let number: usize = environ.path().trim_start_matches('/').parse()?;
    let text = format!("answer {number};");
    let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Ok(match number % 10 {
        0..=3 => Body::from(text),
        4 => Body::from(text.repeat(40_000 / text.len())),
        5 => Body::list(vec![text.clone().into_bytes(), Vec::new(), text.repeat(3_000).into_bytes()]),
        6 => Body::blocks([text, "end".into()]),
        7 => {
            writer.write_all(text.as_bytes())?;
            Body::from("written")
        }
        8 => return Err("number eight".into()),
        _ => panic!("number nine"),
    })
}

fn expected(number: usize) -> (u16, String) {
    let text = format!("answer {number};");
    match number % 10 {
        0..=3 => (200, text),
        4 => (200, text.repeat(40_000 / text.len())),
        5 => (200, text.repeat(3_001)),
        6 => (200, format!("{text}end")),
        7 => (200, format!("{text}written")),
        _ => (500, "Internal Server Error\n".into()),
    }
}

fn request(number: usize) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn p_conn_01_answers_of_every_kind_stay_whole_and_in_order() {
    let house = serve(application);
    let mut state = 1u64;
    for _ in 0..60 {
        let numbers: Vec<usize> = (0..40)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % 1_000
            })
            .collect();
        let mut client = house.client();
        client.send(numbers.iter().map(|number| request(*number)).collect::<String>().as_bytes());
        for number in numbers {
            let response = client.response();
            let (status, text) = expected(number);
            assert_eq!((response.status, response.text()), (status, &*text), "request {number}");
        }
    }
}

#[test]
fn p_conn_02_a_refusal_behind_gathered_answers_comes_last_and_ends_the_connection() {
    let house = serve(application);
    for count in 0..40 {
        let mut client = house.client();
        let good: String = (0..count).map(|number| request(number * 10)).collect();
        client.send(format!("{good}GET / HTTP/1.1\r\nBad : 1\r\n\r\n{}", request(1)).as_bytes());
        for number in 0..count {
            assert_eq!(client.response().text(), expected(number * 10).1);
        }
        let refusal = client.response();
        assert_eq!((refusal.status, refusal.closes()), (400, true));
        client.is_closed();
    }
}

#[test]
fn p_conn_01_half_a_request_behind_gathered_answers_is_waited_for() {
    let house = serve(application);
    let mut client = house.client();
    let last = request(3);
    let (head, tail) = last.split_at(10);
    client.send(format!("{}{}{head}", request(1), request(2)).as_bytes());
    assert_eq!(client.response().text(), "answer 1;");
    assert_eq!(client.response().text(), "answer 2;");
    client.send(tail.as_bytes());
    assert_eq!(client.response().text(), "answer 3;");
}

#[test]
fn p_conn_01_content_between_pipelined_requests_is_not_taken_for_a_request() {
    let house = serve(application);
    let mut client = house.client();
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 25\r\n\r\nGET /9 HTTP/1.1\r\nHost: a\n";
    client.send(format!("{}{post}{}", request(1), request(3)).as_bytes());
    for number in 1..=3 {
        assert_eq!(client.response().text(), format!("answer {number};"));
    }
}

#[test]
fn p_conn_01_gathered_answers_are_sent_before_content_is_waited_for() {
    let house = serve(|environ: &Environ, start_response: &mut StartResponse| {
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content)?;
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        std::io::Result::Ok(Body::from(format!("{} {}", environ.path(), content.len())))
    });
    let mut client = house.client();
    // More content than is gathered before an application is called.
    let content = vec![b'x'; 300_000];
    let post = format!("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    client.send(format!("{}{}{post}", request(1), request(2)).as_bytes());
    for expected in ["/1 0", "/2 0"] {
        assert_eq!(client.response().text(), expected);
    }
    client.send(&content);
    assert_eq!(client.response().text(), "/3 300000");
}
