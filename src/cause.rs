//! Every reason for which doorway refuses a request, closes a connection or answers 500: one table with stable numbers.
//!
//! A cause stands in the error log beside the peer and the request line, so that an operator can search for it and an
//! auditor can check it off. Numbers are never used twice. 10xx concern the request head, 20xx its content,
//! 30xx time and load, 40xx the application, 50xx whoever an answer is got from. This table knows nothing of the other rooms.

use std::error::Error;
use std::io;

macro_rules! causes {
    ($($(#[doc = $sentence:literal])+ $variant:ident = $number:literal, $name:literal, $status:literal;)+) => {
        /// Why a request was refused, a connection closed or a response replaced.
        ///
        /// ```
        /// use doorway::Cause;
        ///
        /// let cause = Cause::HostMissing;
        /// assert_eq!((cause.number(), cause.name(), cause.status()), (1031, "host-missing", Some(400)));
        /// assert_eq!(cause.to_string(), "1031 host-missing: an HTTP/1.1 request without a Host field.");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Cause {
            $($(#[doc = $sentence])+ $variant = $number,)+
        }

        impl Cause {
            /// Every cause, in the order of the numbers.
            pub const ALL: &'static [Cause] = &[$(Cause::$variant,)+];

            /// The stable number.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The name, for search: lower-case words joined by hyphens.
            pub const fn name(self) -> &'static str {
                match self { $(Cause::$variant => $name,)+ }
            }

            /// The status a client gets, or `None` where the connection just ends.
            pub const fn status(self) -> Option<u16> {
                let status = match self { $(Cause::$variant => $status,)+ };
                if status == 0 { None } else { Some(status) }
            }

            /// One sentence that says what happened.
            pub const fn sentence(self) -> &'static str {
                match self { $(Cause::$variant => concat!($($sentence),+),)+ }
            }
        }
    };
}

causes! {
    /// a line of the head ends in LF without CR.
    BareLf = 1001, "bare-lf", 400;
    /// a CR that no LF follows.
    BareCr = 1002, "bare-cr", 400;
    /// more than two empty lines before the request line.
    EmptyLines = 1003, "empty-lines", 400;
    /// the request line is not method SP target SP version.
    RequestLine = 1004, "request-line", 400;
    /// the method is not a token.
    Method = 1005, "method", 400;
    /// the method is longer than 32 bytes.
    MethodLong = 1006, "method-long", 501;
    /// the request target is empty or holds a byte that no target may hold.
    TargetByte = 1007, "target-byte", 400;
    /// the request target is longer than the limit.
    TargetLong = 1008, "target-long", 414;
    /// the version is not HTTP/ and two digits with a point between.
    Version = 1009, "version", 400;
    /// a version of HTTP that is not 1.x.
    VersionUnsupported = 1010, "version-unsupported", 505;
    /// the form of the request target does not fit the method.
    TargetForm = 1011, "target-form", 400;
    /// an absolute target with a scheme that is not served here.
    TargetScheme = 1012, "target-scheme", 400;
    /// user information in the authority of an absolute target.
    TargetUserinfo = 1013, "target-userinfo", 400;
    /// a path with an encoded NUL.
    TargetNul = 1014, "target-nul", 400;
    /// CONNECT asks for a tunnel, which doorway never opens.
    ConnectRefused = 1015, "connect-refused", 405;
    /// a field name that is empty or not a token.
    FieldName = 1021, "field-name", 400;
    /// white space between a field name and its colon.
    FieldSpace = 1022, "field-space", 400;
    /// a field line without a colon.
    FieldColon = 1023, "field-colon", 400;
    /// a field line that starts with white space (obsolete folding).
    FieldFold = 1024, "field-fold", 400;
    /// a control byte in a field value.
    FieldValue = 1025, "field-value", 400;
    /// a field line longer than the limit.
    FieldLong = 1026, "field-long", 431;
    /// more fields than the limit.
    FieldCount = 1027, "field-count", 431;
    /// a head longer than the limit.
    HeadLong = 1028, "head-long", 431;
    /// a field that may stand once stands twice.
    FieldRepeated = 1029, "field-repeated", 400;
    /// an HTTP/1.1 request without a Host field.
    HostMissing = 1031, "host-missing", 400;
    /// a Host that is not host or host:port.
    HostInvalid = 1032, "host-invalid", 400;
    /// a field name with an underscore, which the settings refuse.
    FieldUnderscore = 1033, "field-underscore", 400;
    /// an expectation other than 100-continue.
    ExpectUnknown = 1034, "expect-unknown", 417;
    /// the connection ended before the head did.
    HeadTruncated = 1035, "head-truncated", 400;
    /// what arrived is not the protocol of this port.
    ProtocolMistaken = 1041, "protocol-mistaken", 400;
    /// a packet of uwsgi, SCGI or FastCGI that breaks its format.
    PacketFormat = 1042, "packet-format", 400;
    /// the variables of a packet are longer than the limit.
    PacketLong = 1043, "packet-long", 431;
    /// a uwsgi packet that asks for something else than a request to an application.
    PacketModifier = 1044, "packet-modifier", 501;
    /// more variables than the limit.
    VariableCount = 1045, "variable-count", 431;
    /// a variable is missing that every request has.
    VariableMissing = 1046, "variable-missing", 400;
    /// two values for a variable that has one.
    VariableRepeated = 1047, "variable-repeated", 400;

    /// a Content-Length that is not 1 to 19 digits.
    ContentLength = 2001, "content-length", 400;
    /// Content-Length beside Transfer-Encoding.
    LengthAndCoding = 2002, "length-and-coding", 400;
    /// a transfer coding that is not chunked.
    CodingUnknown = 2003, "coding-unknown", 501;
    /// a Transfer-Encoding that is not one plain token.
    CodingInvalid = 2004, "coding-invalid", 400;
    /// Transfer-Encoding in an HTTP/1.0 request.
    CodingVersion = 2005, "coding-version", 400;
    /// content longer than the limit.
    ContentLong = 2006, "content-long", 413;
    /// CONTENT_LENGTH is not the length the client sent (nginx: turn scgi_request_buffering on).
    LengthContradicted = 2007, "length-contradicted", 400;
    /// content in chunks without CONTENT_LENGTH, through a front server that passes on neither their end nor their length.
    LengthMissing = 2008, "length-missing", 411;
    /// a chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize = 2011, "chunk-size", 400;
    /// a chunk extension that breaks the grammar.
    ChunkExtension = 2012, "chunk-extension", 400;
    /// chunk extensions longer than the limit.
    ChunkExtensionLong = 2013, "chunk-extension-long", 400;
    /// chunk data that CRLF does not follow.
    ChunkEnd = 2014, "chunk-end", 400;
    /// tiny chunks with more overhead than data.
    ChunkOverhead = 2015, "chunk-overhead", 400;
    /// a trailer field that breaks the field rules.
    Trailer = 2016, "trailer", 400;
    /// trailers longer or more than the limits.
    TrailerLong = 2017, "trailer-long", 431;
    /// the connection ended before the content did.
    ContentTruncated = 2021, "content-truncated", 400;
    /// the front server aborted the request.
    RequestAborted = 2022, "request-aborted", 400;
    /// content of a type that the application does not read.
    ContentType = 2031, "content-type", 415;
    /// multipart content that ends before its last boundary.
    MultipartTruncated = 2032, "multipart-truncated", 400;
    /// a boundary that neither a line end nor the end follows.
    MultipartBoundary = 2033, "multipart-boundary", 400;
    /// the head of a part that breaks the rules of fields, or does not name one field of a form.
    PartHead = 2034, "part-head", 400;

    /// the head was not complete within its deadline.
    HeadDeadline = 3001, "head-deadline", 408;
    /// nothing arrived on a new connection within the deadline.
    FirstByteDeadline = 3002, "first-byte-deadline", 0;
    /// no further request within the keep-alive time.
    IdleDeadline = 3003, "idle-deadline", 0;
    /// the content stopped arriving.
    ContentStalled = 3004, "content-stalled", 408;
    /// the content arrived below the minimum rate.
    ContentSlow = 3005, "content-slow", 408;
    /// the client stopped taking the response.
    ResponseStalled = 3006, "response-stalled", 0;
    /// the queue of ready requests was full.
    QueueFull = 3007, "queue-full", 503;
    /// the request waited too long for a thread.
    QueueTimeout = 3008, "queue-timeout", 503;
    /// closed to make room: the connection limit was reached.
    ConnectionLimit = 3009, "connection-limit", 0;
    /// closed to make room: waiting connections held too much memory.
    HeldLimit = 3010, "held-limit", 0;
    /// the server is stopping.
    Stopping = 3011, "stopping", 503;
    /// the client went away before the response was whole.
    ClientGone = 3012, "client-gone", 0;
    /// the system refused a new connection (descriptors or memory).
    AcceptFailed = 3013, "accept-failed", 0;
    /// cut because clients that are waited for had all their seats, and this was the slowest.
    CrowdedOut = 3014, "crowded-out", 408;
    /// a connection from an address that is not on the list.
    PeerRefused = 3015, "peer-refused", 0;

    /// a fault of the server itself, which cost one connection at most.
    ServerFault = 3016, "server-fault", 0;
    /// as many connections as are allowed had been taken over for another protocol.
    UpgradeLimit = 3017, "upgrade-limit", 503;
    /// /proc/net/snmp does not count what this server gets: from now on connections that have been quiet are looked at in turn.
    BellWrong = 3018, "bell-wrong", 0;

    /// the application panicked.
    ApplicationPanic = 4001, "application-panic", 500;
    /// the application returned an error.
    ApplicationError = 4002, "application-error", 500;
    /// a status that is not three digits from 200 to 599 or 101, a space and a reason without control characters.
    StatusInvalid = 4003, "status-invalid", 500;
    /// a response field name that is not a token.
    HeaderName = 4004, "header-name", 500;
    /// a control character in a response field value.
    HeaderValue = 4005, "header-value", 500;
    /// a hop-by-hop field, which belongs to the server.
    HopByHop = 4006, "hop-by-hop", 500;
    /// a response field named Status.
    StatusHeader = 4007, "status-header", 500;
    /// a Content-Length that is not digits or stands twice.
    HeaderLength = 4008, "header-length", 500;
    /// start was called a second time without an error to replace the head.
    StartedTwice = 4009, "started-twice", 500;
    /// the first block or the end of the body came before start was called.
    NotStarted = 4010, "not-started", 500;
    /// restart was called after the head had been sent.
    HeadSent = 4011, "head-sent", 0;
    /// the body was shorter than its Content-Length.
    BodyShort = 4012, "body-short", 0;
    /// the body was longer than its Content-Length.
    BodyLong = 4013, "body-long", 0;
    /// the body failed while it was being produced.
    BodyFailed = 4014, "body-failed", 500;
    /// an on_close function panicked.
    ClosePanic = 4015, "close-panic", 0;
    /// a body with a status that has none was dropped.
    BodyDropped = 4016, "body-dropped", 0;
    /// a response head of more than 3.5 KB, which front servers take only with larger buffers.
    HeadLarge = 4017, "head-large", 0;
    /// 101 and Body::upgrade without each other, or for a protocol that the client has not offered.
    UpgradeMisused = 4018, "upgrade-misused", 500;
    /// no thread of the pool has been free for ten seconds.
    ThreadsBusy = 4019, "threads-busy", 0;

    /// the status line of an upstream is not version SP code SP reason.
    StatusLine = 5001, "status-line", 502;
    /// no connection to the upstream could be made.
    UpstreamUnreachable = 5002, "upstream-unreachable", 502;
    /// the answer of the upstream breaks the rules of its protocol.
    UpstreamInvalid = 5003, "upstream-invalid", 502;
    /// the upstream ended the connection before its answer was whole.
    UpstreamTruncated = 5004, "upstream-truncated", 502;
    /// the upstream did not answer, or stopped sending, within its deadline.
    UpstreamDeadline = 5005, "upstream-deadline", 504;
    /// an upgrade such as a WebSocket, which cannot be passed on from here.
    UpgradeRefused = 5006, "upgrade-refused", 501;
    /// the request has been through this proxy before.
    ProxyLoop = 5007, "proxy-loop", 508;
    /// as many programs or workers as are allowed were busy for as long as a request may wait.
    UpstreamBusy = 5008, "upstream-busy", 503;
}

impl Cause {
    /// The cause that an error is, or carries: `io::Error::new(kind, cause)`, or one that has it for its source. A server answers an
    /// application's error with the status of the cause in it.
    ///
    /// ```
    /// use std::io;
    /// use doorway::Cause;
    ///
    /// let error = io::Error::new(io::ErrorKind::FileTooLarge, Cause::ContentLong);
    /// assert_eq!(Cause::of(&error).and_then(Cause::status), Some(413));
    /// assert_eq!(Cause::of(&io::Error::other("the disk is full")), None);
    /// ```
    pub fn of(error: &(dyn Error + 'static)) -> Option<Cause> {
        fn inner<'a>(&error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
            match error.downcast_ref::<io::Error>() {
                // Its source would be that of the error in it.
                Some(outer) => outer.get_ref().map(|inner| inner as _),
                None => error.source(),
            }
        }
        // An error that is its own source is no reason to search for ever.
        std::iter::successors(Some(error), inner).take(16).find_map(|error| error.downcast_ref().copied())
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}:{}", self.number(), self.name(), self.sentence())
    }
}

impl Error for Cause {}

#[cfg(test)]
mod tests {
    use super::Cause;

    #[test]
    fn causes_have_unique_rising_numbers_and_unique_names() {
        for pair in Cause::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{:?} before {:?}", pair[0], pair[1]);
        }
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
    }

    #[test]
    fn causes_carry_one_sentence_and_a_status_of_a_refusal() {
        for cause in Cause::ALL {
            let sentence = cause.sentence().trim();
            assert!(sentence.ends_with('.') && sentence.matches(". ").count() == 0, "{cause:?}: {sentence}");
            assert!(cause.status().is_none_or(|status| (400..=599).contains(&status)), "{cause:?}");
        }
    }
}
