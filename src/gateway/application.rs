//! The application side of the contract: anything that can be called with an environ and a start_response.
//!
//! PEP 3333, "The Application/Framework Side". A server calls an application once a request and never looks inside it.

use std::sync::Arc;

use super::{Body, Environ, StartResponse};

/// A web application: called once for each request, possibly by several threads at once.
///
/// Every function `fn(&Environ, &mut StartResponse) -> R` is one, where `R` is a [`Body`] or converts into one (`&'static str`,
/// `String`, `Vec<u8>`, `File`, `()`, and `Result` of these with any error). So are `Arc<A>` and `Box<dyn Application>`.
///
/// ```
/// use doorway::{Application, Body, Environ, StartResponse};
///
/// fn hello(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::from("Hello, web!")
/// }
///
/// // A closure names the types of its parameters, because Rust cannot guess them through a trait.
/// let greeting = String::from("Hello again!");
/// let closure = move |_environ: &Environ, start_response: &mut StartResponse| {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     greeting.clone()
/// };
///
/// let applications: Vec<Box<dyn Application>> = vec![Box::new(hello), Box::new(closure)];
/// # assert_eq!(applications.len(), 2);
/// ```
///
/// A function that may end without a body is none:
///
/// ```compile_fail,E0277
/// use doorway::{Application, Body, Environ, StartResponse};
///
/// fn perhaps(_environ: &Environ, _start_response: &mut StartResponse) -> Option<Body> {
///     None // P-APP-04
/// }
///
/// let application: Box<dyn Application> = Box::new(perhaps);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an application",
    label = "not an application",
    note = "an application is `fn(&Environ, &mut StartResponse) -> R`; a closure writes the two types out",
    note = "`R` is `Body`, text, bytes, a `File`, `()`, or a `Result` of one of them; anything else becomes one by `Body::from` or `.into()`",
    note = "the error of that `Result` has to cross threads: `Box<dyn Error + Send + Sync>` in place of `Box<dyn Error>`",
    note = "what it captures is shared by threads: `Arc` in place of `Rc`, `Mutex` in place of `RefCell`"
)]
pub trait Application: Send + Sync + 'static {
    /// Answers one request. It must call `start_response` before the first byte of the body (or return [`Body::deferred`]).
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body;
}

// What is wrong is said of the application, and not of a bound in here.
#[diagnostic::do_not_recommend]
impl<F, R> Application for F
where
    F: Fn(&Environ, &mut StartResponse) -> R + Send + Sync + 'static,
    R: Into<Body>,
{
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        self(environ, start_response).into()
    }
}

impl<A: Application + ?Sized> Application for Arc<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        (**self).call(environ, start_response)
    }
}

impl Application for Box<dyn Application> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        (**self).call(environ, start_response)
    }
}
