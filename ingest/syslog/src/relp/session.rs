//! What a frame asks for, in its place in a session.

use super::Frame;

/// What the receiver offers: version 0 is what librelp speaks; the text is as in its own answer.
const OFFER: &str = concat!("200 OK\nrelp_version=0\nrelp_software=nephoscope,", env!("CARGO_PKG_VERSION"), "\ncommands=syslog");

/// One connection, from its `open` to its `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    is_open: bool,
}

/// What a sender wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Take this message, and say so when it is safe.
    Take(&'a [u8]),
    /// An answer that needs nothing else.
    Answer(String),
    /// The same, and it is the last: the sender wants to close.
    Last(String),
    /// Nothing that a receiver could go on with.
    Nonsense(&'static str),
}

impl Session {
    /// Follows one frame.
    pub fn receive<'a>(&mut self, frame: &Frame<'a>) -> Request<'a> {
        match frame.command {
            _ if frame.txnr == 0 => Request::Nonsense("transaction number 0 from a sender"),
            "open" => self.open(frame.data),
            "syslog" if self.is_open => Request::Take(frame.data),
            "close" => {
                self.is_open = false;
                Request::Last("200 OK".into())
            }
            _ if !self.is_open => Request::Nonsense("a command before open"),
            _ => Request::Answer("500 command not supported".into()),
        }
    }

    fn open(&mut self, offers: &[u8]) -> Request<'static> {
        if self.is_open {
            return Request::Nonsense("a second open");
        }
        // A sender that names no commands leaves the choice to us.
        let mut commands = offers.split(|byte| *byte == b'\n').filter_map(|offer| offer.strip_prefix(b"commands="));
        let has_syslog = |list: &[u8]| list.split(|byte| *byte == b',').any(|command| command == b"syslog");
        if commands.next().is_some_and(|list| !has_syslog(list)) {
            return Request::Answer("500 expected the command syslog among those offered".into());
        }
        self.is_open = true;
        Request::Answer(OFFER.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(txnr: u32, command: &'a str, data: &'a [u8]) -> Frame<'a> {
        Frame { txnr, command, data, truncated: false }
    }

    #[test]
    fn a_session_opens_takes_messages_and_closes() {
        let mut session = Session::default();
        let offers = b"relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog";
        let Request::Answer(offer) = session.receive(&frame(1, "open", offers)) else { panic!("an answer") };
        assert!(offer.starts_with("200 OK\nrelp_version=0\n") && offer.ends_with("\ncommands=syslog"), "{offer}");
        assert_eq!(session.receive(&frame(2, "syslog", b"<13>x")), Request::Take(b"<13>x"));
        assert_eq!(session.receive(&frame(3, "starttls", b"")), Request::Answer("500 command not supported".into()));
        assert!(matches!(session.receive(&frame(4, "close", b"")), Request::Last(_)));
        assert!(matches!(session.receive(&frame(5, "syslog", b"<13>late")), Request::Nonsense(_)));
    }

    #[test]
    fn a_message_before_open_and_a_second_open_are_nonsense() {
        let mut session = Session::default();
        assert!(matches!(session.receive(&frame(1, "syslog", b"<13>x")), Request::Nonsense(_)));
        session.receive(&frame(1, "open", b""));
        assert!(matches!(session.receive(&frame(2, "open", b"")), Request::Nonsense(_)));
        assert!(matches!(session.receive(&frame(0, "syslog", b"<13>x")), Request::Nonsense(_)));
    }

    #[test]
    fn a_sender_that_cannot_speak_syslog_is_told_so() {
        let mut session = Session::default();
        assert!(matches!(session.receive(&frame(1, "open", b"commands=foo,bar")), Request::Answer(text) if text.starts_with("500")));
        assert!(matches!(session.receive(&frame(2, "syslog", b"<13>x")), Request::Nonsense(_)), "it is not open");
        assert!(matches!(session.receive(&frame(3, "open", b"commands=foo,syslog")), Request::Answer(text) if text.starts_with("200")));
    }
}
