use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// A request to a part's API.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(super) part: &'static str,
    method: Method,
    path: &'static str,
    pub(super) body: Option<Value>,
}

/// What somebody does to a saga, or what happens to it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Somebody asks for something.
    Ask(Ask),
    /// The timers that this service has set for it are due.
    Due(&'static str),
}

/// PUT to this part, at this path.
pub fn put(part: &'static str, path: &'static str) -> Ask {
    Ask::new(Method::PUT, part, path)
}

/// POST to this part, at this path. It has to be one that may be made twice.
pub fn post(part: &'static str, path: &'static str) -> Ask {
    Ask::new(Method::POST, part, path)
}

/// DELETE at this part.
pub fn delete(part: &'static str, path: &'static str) -> Ask {
    Ask::new(Method::DELETE, part, path)
}

/// The timers that a service has set for the saga are due at once, and have fired when the next thing is done. So nobody waits for a
/// deadline of minutes.
pub fn due(service: &'static str) -> Act {
    Act::Due(service)
}

impl Ask {
    fn new(method: Method, part: &'static str, path: &'static str) -> Self {
        Self {
            part,
            method,
            path,
            body: None,
        }
    }

    /// With this body.
    #[must_use]
    pub fn json(self, body: impl Into<Value>) -> Self {
        Self {
            body: Some(body.into()),
            ..self
        }
    }

    /// The same with other values in some fields of the body.
    pub(super) fn with(mut self, fields: &[(&'static str, Value)]) -> Self {
        if let Some(Value::Object(body)) = &mut self.body {
            body.extend(
                fields
                    .iter()
                    .map(|(field, value)| ((*field).to_owned(), value.clone())),
            );
        }
        self
    }

    /// Asks once. `Ok(Err(…))`: whoever is asked is away, and may be asked again.
    ///
    /// # Errors
    /// That the request is wrong, which will not get better.
    pub(super) async fn once(&self, http: &Client, address: &str, key: &str) -> Result<Result<()>> {
        let url = address.to_owned() + &filled(self.path, key);
        let mut request = http.request(self.method.clone(), &url);
        if let Some(body) = &self.body {
            let body: Value = serde_json::from_str(&filled(&body.to_string(), key))?;
            request = request.json(&body);
        }
        let what = format!("{} {url}", self.method);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(anyhow!(error).context(what))),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(Ok(()));
        }
        let said = answer.text().await.unwrap_or_default();
        let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if status.is_client_error() && !passes {
            bail!("{what}: {status}: {said}");
        }
        Ok(Err(anyhow!("{what}: {status}: {said}")))
    }
}

impl From<Ask> for Act {
    fn from(ask: Ask) -> Self {
        Self::Ask(ask)
    }
}

/// What is at a path of somebody's API, at a place in it; `None` if nothing is.
pub(super) async fn shown(http: &Client, url: &str, pointer: &str) -> Result<Option<String>> {
    let answer = http.get(url).send().await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let answer: Value = answer.error_for_status()?.json().await?;
    match answer.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(state)) => Ok(Some(state.clone())),
        Some(other) => Err(anyhow!("{other}")).context(format!("GET {url} has no text at {pointer}")),
    }
}

/// With the saga's key where it belongs.
pub(super) fn filled(text: &str, key: &str) -> String {
    text.replace("{key}", key)
}
