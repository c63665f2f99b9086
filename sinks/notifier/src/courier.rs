//! The real ways out of this machine: HTTP, SMTP, files, standard output.

mod http;
mod smtp;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

use stream_core::ConfigError;

use self::{http::Http, smtp::Smtp};
use crate::{
    config::{Config, Destination, SECTION, wrong},
    delivery::{Delivery, Failure},
    notification::Notification,
    payload::{alertmanager, console, email, file, keep, pagerduty, slack, webhook},
    secret::Secret,
};

/// One destination, open.
pub struct Courier {
    name: String,
    external_url: String,
    way: Way,
}

enum Way {
    Alertmanager { http: Http, url: String, token: Secret },
    Console,
    Email(Smtp),
    File { path: String },
    Keep { http: Http, url: String, api_key: Secret },
    Pagerduty { http: Http, url: String, routing_key: Secret },
    Slack { http: Http, url: Secret },
    Webhook { http: Http, url: String, key: Secret, token: Secret },
}

impl Delivery for Courier {
    fn open(config: &Config, destination: &str) -> Result<Self, ConfigError> {
        let destinations = config.destinations();
        let known = destinations.get(destination).ok_or_else(|| wrong("destinations of [notifier]", "a destination", destination))?;
        let key = format!("{SECTION}.{}.{destination}", known.kind());
        // One that is missing is told at the start; each is read again whenever it is used, so that it may be changed.
        let needed = |name: &str, secret: &Secret| match secret.read() {
            _ if secret.is_none() => Ok(secret.clone()),
            Ok(_) => Ok(secret.clone()),
            Err(error) => Err(wrong(format!("{key}.{name}"), "a secret that can be read", error_chain(&error))),
        };
        let way = match known {
            Destination::Alertmanager(config) => {
                let url = format!("{}/api/v2/alerts", config.url.trim_end_matches('/'));
                Way::Alertmanager { http: Http::new(), url, token: needed("token", &config.token)? }
            }
            Destination::Console(_) => Way::Console,
            Destination::Email(config) => {
                needed("password", &config.password)?;
                Way::Email(
                    Smtp::new(config).map_err(|(name, problem)| wrong(format!("{key}.{name}"), "what a mail server takes", problem))?,
                )
            }
            Destination::File(config) => Way::File { path: config.path.clone() },
            Destination::Keep(config) => {
                let url = format!("{}/alerts/event", config.url.trim_end_matches('/'));
                Way::Keep { http: Http::new(), url, api_key: needed("api_key", &config.api_key)? }
            }
            Destination::Pagerduty(config) => {
                let routing_key = needed("routing_key", &config.routing_key)?;
                Way::Pagerduty { http: Http::new(), url: config.url.clone(), routing_key }
            }
            Destination::Slack(config) => Way::Slack { http: Http::new(), url: needed("url", &config.url)? },
            Destination::Webhook(config) => {
                let (key, token) = (needed("key", &config.key)?, needed("token", &config.token)?);
                Way::Webhook { http: Http::new(), url: config.url.clone(), key, token }
            }
        };
        Ok(Self { name: destination.into(), external_url: config.external_url.clone(), way })
    }

    fn deliver(&mut self, notification: &Notification) -> Result<(), Failure> {
        let (at, external_url) = (notification.at, self.external_url.as_str());
        match &mut self.way {
            Way::Console => io::stdout()
                .write_all(console::lines(notification).as_bytes())
                .map_err(|error| Failure::later(format!("standard output: {error}"))),
            Way::File { path } => append(path, &file::lines(notification)).map_err(|error| Failure::later(format!("{path}: {error}"))),
            Way::Email(smtp) => smtp.send(&email::mail(notification, external_url), at),
            Way::Alertmanager { http, url, token } => {
                let body = json(&alertmanager::alerts(notification, external_url))?;
                http.post(url, &bearer(token)?, &body, at)
            }
            Way::Keep { http, url, api_key } => {
                let headers = [("x-api-key", read(api_key)?)];
                notification.entries.iter().try_for_each(|entry| http.post(url, &headers, &json(&keep::event(&entry.alert))?, at))
            }
            Way::Pagerduty { http, url, routing_key } => {
                let routing_key = read(routing_key)?;
                let event = |alert| json(&pagerduty::event(alert, &routing_key, external_url));
                notification.entries.iter().try_for_each(|entry| http.post(url, &[], &event(&entry.alert)?, at))
            }
            Way::Slack { http, url } => http.post(&read(url)?, &[], &json(&slack::body(notification, external_url))?, at),
            Way::Webhook { http, url, key, token } => {
                let body = json(&webhook::message(notification, &self.name, external_url))?;
                let mut headers = bearer(token)?;
                if !key.is_none() {
                    let signature = webhook::signature(read(key)?.as_bytes(), &body);
                    headers.extend(signature.map(|signature| (webhook::SIGNATURE_HEADER, signature)));
                }
                http.post(url, &headers, &body, at)
            }
        }
    }
}

fn append(path: &str, lines: &[u8]) -> io::Result<()> {
    // Opened anew each time: whoever rotates logs may have moved it away.
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    file.write_all(lines)?;
    file.sync_data()
}

fn read(secret: &Secret) -> Result<String, Failure> {
    secret.read().map_err(|error| Failure::later(error_chain(&error)))
}

fn bearer(token: &Secret) -> Result<Vec<(&'static str, String)>, Failure> {
    if token.is_none() { Ok(Vec::new()) } else { Ok(vec![("authorization", format!("Bearer {}", read(token)?))]) }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(Failure::never)
}

fn error_chain(error: &dyn std::error::Error) -> String {
    stream_runtime::engine::error_chain(error)
}
