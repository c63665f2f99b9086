//! Mail by SMTP: encoding of headers and addresses is the library's.

use std::time::{Duration, UNIX_EPOCH};

use lettre::{
    Message, SmtpTransport, Transport,
    message::{
        Mailbox,
        header::{ContentType, MIME_VERSION_1_0},
    },
    transport::smtp::{SmtpTransportBuilder, authentication::Credentials},
};
use schemas::EventTime;

use crate::{
    config::{EmailConfig, MailTls},
    delivery::Failure,
    payload::{email::Mail, plain},
};

/// How long each command may take: less than a process has to stop, which waits for one that hangs.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Answers about who we are, not about what we send (RFC 4954): they may change, and no alert is at fault.
const ABOUT_US: [u16; 4] = [530, 534, 535, 538];

/// One mail server.
pub(super) struct Smtp {
    config: EmailConfig,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Smtp {
    /// Checks addresses and server; the error names the key and what is wrong with it.
    pub(super) fn new(config: &EmailConfig) -> Result<Self, (&'static str, String)> {
        let mailbox = |key: &'static str, text: &String| text.parse::<Mailbox>().map_err(|error| (key, format!("{text:?}: {error}")));
        let to = config.to.iter().map(|text| mailbox("to", text)).collect::<Result<_, _>>()?;
        let this = Self { config: config.clone(), from: mailbox("from", &config.from)?, to };
        this.transport().map_err(|error| ("server", error.to_string()))?;
        Ok(this)
    }

    fn transport(&self) -> Result<SmtpTransportBuilder, lettre::transport::smtp::Error> {
        let server = self.config.server.as_str();
        let builder = match self.config.tls {
            MailTls::Starttls => SmtpTransport::starttls_relay(server)?,
            MailTls::Tls => SmtpTransport::relay(server)?,
            MailTls::None => SmtpTransport::builder_dangerous(server),
        };
        Ok(builder.port(self.config.port).timeout(Some(TIME_MAX)))
    }

    /// Sends a mail.
    pub(super) fn send(&self, mail: &Mail, at: EventTime) -> Result<(), Failure> {
        let message = self.message(mail, at).map_err(|error| Failure::never(plain(&error.to_string())))?;
        let mut transport = self.transport().map_err(|error| Failure::later(plain(&error.to_string())))?;
        if !self.config.user.is_empty() {
            let password = self.config.password.read().map_err(|error| Failure::later(super::error_chain(&error)))?;
            transport = transport.credentials(Credentials::new(self.config.user.clone(), password));
        }
        let outcome = transport.build().send(&message);
        outcome.map(drop).map_err(|error| {
            let why = plain(&super::error_chain(&error));
            let is_about_us = error.status().is_some_and(|code| ABOUT_US.contains(&u16::from(code)));
            if error.is_permanent() && !is_about_us { Failure::never(why) } else { Failure::later(why) }
        })
    }

    fn message(&self, mail: &Mail, at: EventTime) -> Result<Message, lettre::error::Error> {
        let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0));
        let builder = Message::builder().from(self.from.clone()).subject(mail.subject.clone()).date(date);
        let builder = self.to.iter().fold(builder, |builder, to| builder.to(to.clone()));
        let builder = builder.message_id(Some(mail.message_id.clone()));
        let builder = builder.references(mail.thread_id.clone()).in_reply_to(mail.thread_id.clone());
        // Without it a content type and an encoding mean nothing (RFC 2045, 4).
        builder.header(MIME_VERSION_1_0).header(ContentType::TEXT_PLAIN).body(mail.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> EmailConfig {
        let to = vec!["Ops <ops@example.org>".into(), "boss@example.org".into()];
        EmailConfig { server: "localhost".into(), from: "nephoscope@example.org".into(), to, ..EmailConfig::default() }
    }

    #[test]
    fn a_subject_cannot_become_a_header() {
        let smtp = Smtp::new(&config()).expect("can be meant");
        let subject = "[FIRING 1] X\r\nBcc: eve@example.org\r\n\r\nbody".to_string();
        let id = "<a@b.invalid>".to_string();
        let mail = Mail { subject, text: "text\r\n.\r\nRCPT TO:<eve@example.org>\r\n".into(), message_id: id.clone(), thread_id: id };
        let formatted = smtp.message(&mail, EventTime::from_millis(1_700_000_000_000)).expect("is a message").formatted();
        let formatted = String::from_utf8(formatted).expect("is ASCII");
        let head = formatted.split("\r\n\r\n").next().expect("a head");
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        assert!(head.contains("To: Ops <ops@example.org>, boss@example.org"), "{head}");
        assert!(head.contains("Date: Tue, 14 Nov 2023 22:13:20"), "{head}");
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let wrong = EmailConfig { from: "nobody".into(), ..config() };
        assert_eq!(Smtp::new(&wrong).err().expect("is refused").0, "from");
    }
}
