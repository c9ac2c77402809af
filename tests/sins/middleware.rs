//! What middleware can do wrong, between a server and an application that do everything right.

use std::io;

use doorway::middleware::{Culprit, Level, Place};
use doorway::{Application, Body, Environ, Headers, StartResponse, Status, Transmit};

use super::Expected;

type Inner = Box<dyn Application>;

pub struct Sin {
    pub name: &'static str,
    pub rule: &'static str,
    pub place: Place,
    pub around: fn(Inner) -> Inner,
}

impl Sin {
    pub fn expected(&self) -> Expected {
        Expected { rule: self.rule, culprit: Culprit::Middleware, level: self.level(), place: self.place }
    }

    fn level(&self) -> Level {
        if ["V-18", "V-32", "V-37"].contains(&self.rule) { Level::Warning } else { Level::Error }
    }
}

macro_rules! sins {
    ($($rule:literal $place:ident $name:ident;)+) => {
        pub const ALL: &[Sin] = &[$(
            Sin { name: stringify!($name), rule: $rule, place: Place::$place, around: |inner| Box::new($name(inner)) },
        )+];
    };
}

sins! {
    "V-16" Environ loses_the_server_name;
    "V-18" Environ loses_the_query;
    "V-23" Environ mounts_at_a_slash;
    "V-26" Close forgets_the_body;
    "V-32" Body removes_the_type;
    "V-36" Start adds_a_hop_by_hop_field;
    "V-37" Body makes_it_a_204;
    "V-38" Body changes_the_body_and_keeps_the_length;
    "V-40" Body starts_nothing_itself;
    "V-41" Body joins_two_blocks;
    "V-41" Body gathers_all_blocks;
    "V-41" Body swallows_a_block;
    "V-41" Body swallows_the_last_block;
    "V-42" Start adds_a_second_type;
    "P-SR-07" Start starts_before_the_application;
}

/// The application inside: three blocks and their length, all as it should be.
pub fn three_blocks(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "6")]);
    Body::blocks(["12", "34", "56"])
}

/// Middleware that only changes the environ.
fn edit(inner: Inner, change: fn(&mut Environ)) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        let mut changed = environ.clone();
        change(&mut changed);
        inner.call(&changed, start_response)
    }
}

/// Middleware that only changes the head.
fn change(inner: Inner, change: fn(&mut Status, &mut Headers)) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.on_start(change);
        inner.call(environ, start_response)
    }
}

/// Middleware that only changes the body.
fn remake(inner: Inner, change: fn(Body) -> Body) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| change(inner.call(environ, start_response))
}

pub fn loses_the_server_name(inner: Inner) -> impl Application {
    edit(inner, |environ| environ.remove("SERVER_NAME"))
}

pub fn loses_the_query(inner: Inner) -> impl Application {
    edit(inner, |environ| environ.remove("QUERY_STRING"))
}

pub fn mounts_at_a_slash(inner: Inner) -> impl Application {
    edit(inner, |environ| environ.set("SCRIPT_NAME", "/"))
}

pub fn forgets_the_body(inner: Inner) -> impl Application {
    remake(inner, |body| {
        std::mem::forget(body);
        Body::from("654321")
    })
}

pub fn removes_the_type(inner: Inner) -> impl Application {
    change(inner, |_, headers| headers.remove("Content-Type"))
}

pub fn adds_a_hop_by_hop_field(inner: Inner) -> impl Application {
    change(inner, |_, headers| headers.add("Upgrade", "h2c"))
}

pub fn makes_it_a_204(inner: Inner) -> impl Application {
    change(inner, |status, headers| {
        *status = Status::parse("204 No Content").expect("a good status");
        headers.clear();
    })
}

pub fn changes_the_body_and_keeps_the_length(inner: Inner) -> impl Application {
    remake(inner, |body| body.map_blocks(|block| Ok([&block[..], b"!"].concat().into())))
}

pub fn starts_nothing_itself(inner: Inner) -> impl Application {
    move |environ: &Environ, _: &mut StartResponse| {
        let mut own = StartResponse::new(Box::new(Nowhere));
        drop(inner.call(environ, &mut own));
        Body::empty()
    }
}

/// Gives two blocks as one, whenever it can.
pub fn joins_two_blocks(inner: Inner) -> impl Application {
    remake(inner, |body| {
        let mut blocks = body.into_blocks();
        Body::blocks(std::iter::from_fn(move || {
            let (first, second) = (blocks.next()?, blocks.next());
            Some(first.and_then(|first| Ok([&first[..], &second.transpose()?.unwrap_or_default()].concat())))
        }))
    })
}

/// Waits for everything before it gives anything, though it gives all of it.
pub fn gathers_all_blocks(inner: Inner) -> impl Application {
    remake(inner, |body| body.into_blocks().collect::<Result<Vec<_>, _>>().map(Body::list).into())
}

pub fn swallows_a_block(inner: Inner) -> impl Application {
    swallow(inner, b"34")
}

pub fn swallows_the_last_block(inner: Inner) -> impl Application {
    swallow(inner, b"56")
}

fn swallow(inner: Inner, swallowed: &'static [u8]) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.on_start(|_, headers| headers.remove("Content-Length"));
        let blocks = inner.call(environ, start_response).into_blocks();
        Body::blocks(blocks.filter(move |block| !block.as_ref().is_ok_and(|block| **block == *swallowed)))
    }
}

pub fn adds_a_second_type(inner: Inner) -> impl Application {
    change(inner, |_, headers| headers.add("Content-Type", "text/html"))
}

pub fn starts_before_the_application(inner: Inner) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        inner.call(environ, start_response)
    }
}

/// Swallows what is sent.
pub struct Nowhere;

impl Transmit for Nowhere {
    fn head(&mut self, _: &Status, _: &Headers, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn block(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
