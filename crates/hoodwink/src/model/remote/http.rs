//! A model behind a URL.

use std::io::Read;

use ureq::{
    Agent, Body,
    http::{HeaderName, HeaderValue, Response, Uri, header},
};

use super::{Link, RemoteSettings, wire};
use crate::{Error, Result, legible};

/// The number of bytes shown of a server's refusal.
const SHOWN: u64 = 200;

/// Sends questions with POST, and requests for the description with GET, both to the same URL. It follows no redirects
/// and uses no proxy, so requests only go to the server that the user named.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    pub(super) fn new(url: &str, settings: &RemoteSettings) -> Result<Self> {
        let wrong = |why: &str| {
            Error::invalid(format!(
                "{:?} is not a model's address ({why}); expected http://host:port/path",
                legible::name(url)
            ))
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.host().is_none_or(str::is_empty)
        {
            return Err(wrong("it has no scheme or no host"));
        }
        // It would appear in run folders and messages.
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(wrong(
                "it contains a user name or password; put them into a header",
            ));
        }
        let headers = settings.headers.iter().map(|(name, value)| {
            let pair = name.parse().ok().zip(HeaderValue::from_str(value).ok());
            // The value may be a secret.
            pair.ok_or_else(|| {
                Error::invalid(format!(
                    "the header {:?} cannot be sent",
                    legible::name(name)
                ))
            })
        });
        let config = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("hoodwink/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.into(),
            url: uri,
            headers: headers.collect::<Result<_>>()?,
        })
    }
}

impl Link for Client {
    fn describe(&mut self) -> Result<String, String> {
        let mut request = self.agent.get(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.call())
    }

    fn ask(&mut self, body: &str) -> Result<String, String> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.send(body))
    }
}

fn answer(response: Result<Response<Body>, ureq::Error>) -> Result<String, String> {
    let mut response = response.map_err(|error| failed(&error))?;
    let status = response.status();
    let location = response.headers().get(header::LOCATION).cloned();
    let mut body = response.body_mut().as_reader();
    if !status.is_success() {
        let mut said = Vec::new();
        // The server's text is helpful but not needed.
        let _ = body.take(SHOWN).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        return Err(match location {
            Some(to) if status.is_redirection() => {
                format!(
                    "redirects to {to:?}, and redirects are not followed; if that address is right, use it instead"
                )
            }
            _ => format!("answered with HTTP status {status}: {said:?}"),
        });
    }
    let mut bytes = Vec::new();
    let read = body.by_ref().take(wire::LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|error| match ureq::Error::from(error) {
        ureq::Error::Io(error) => format!("broke off its answer: {error}"),
        error => failed(&error),
    })?;
    if bytes.len() as u64 > wire::LIMIT {
        return Err(format!("answered with more than {} MiB", wire::LIMIT >> 20));
    }
    wire::text(bytes)
}

fn failed(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "did not answer in time".to_owned(),
        ureq::Error::HostNotFound => "cannot be reached: the host was not found".to_owned(),
        ureq::Error::Io(error) => format!("cannot be reached: {error}"),
        error => format!("did not answer with valid HTTP: {error}"),
    }
}
