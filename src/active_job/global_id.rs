use std::fmt;

use super::error::deserialization;
use crate::job::{ArgsError, JobError};
use crate::payload::last_wins;

/// A model of the app by its global id: `gid://app/User/7`.
///
/// ```
/// use ferrokiq::active_job::GlobalId;
///
/// let id = GlobalId::parse("gid://shop/User/7?tenant=acme+ltd")?;
/// assert_eq!((id.app(), id.model(), id.id()), ("shop", "User", "7"));
/// assert_eq!(id.param("tenant"), Some("acme ltd"));
/// assert_eq!(GlobalId::new("shop", "User", 7).to_string(), "gid://shop/User/7");
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalId {
    text: Box<str>,
    app: Box<str>,
    model: Box<str>,
    id: Vec<Box<str>>,
    params: Vec<(Box<str>, Box<str>)>,
}

/// Parts of a composite key that are read.
const MAX_PARTS: usize = 20;

impl GlobalId {
    /// The id of a model with a key of one column.
    pub fn new(app: &str, model: &str, id: impl fmt::Display) -> Self {
        Self::composite(app, model, [id])
    }

    /// The id of a model with a key of several columns.
    pub fn composite<D: fmt::Display>(app: &str, model: &str, id: impl IntoIterator<Item = D>) -> Self {
        let id: Vec<Box<str>> = id.into_iter().map(|part| part.to_string().into()).collect();
        let mut gid = Self { text: Box::default(), app: app.into(), model: model.into(), id, params: Vec::new() };
        gid.text = gid.render();
        gid
    }

    /// The same id with a parameter, `database` say.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.params.push((name.into(), value.to_string().into()));
        self.text = self.render();
        self
    }

    /// Reads `gid://app/Model/id?name=value`.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for anything else.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        Self::read(text).ok_or_else(|| deserialization("Expected a URI like gid://app/Person/1234"))
    }

    fn read(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.contains(|char: char| char.is_ascii_control() || char == ' ') {
            return None;
        }
        let rest = text.strip_prefix("gid://")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (app, path) = path.split_once('/')?;
        let (model, id) = path.split_once('/')?;
        let is_name = |name: &str, more: &[u8]| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if !is_name(app, b"-_.") || !is_name(model, b"_:") {
            return None;
        }
        let id: Vec<Box<str>> =
            id.splitn(MAX_PARTS, '/').filter(|part| !part.is_empty()).map(unescape).collect::<Option<_>>()?;
        if id.is_empty() {
            return None;
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(1_000).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(name)?, unescape(value)?))
        });
        let params = last_wins(pairs.collect::<Option<Vec<_>>>()?);
        Some(Self { text: text.into(), app: app.into(), model: model.into(), id, params })
    }

    fn render(&self) -> Box<str> {
        let id: Vec<String> = self.id.iter().map(|part| escape(part, b"-._~*")).collect();
        let mut text = format!("gid://{}/{}/{}", self.app, self.model, id.join("/"));
        for (at, (name, value)) in self.params.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            text.push_str(&format!("{mark}{}={}", escape(name, b"-._*"), escape(value, b"-._*")));
        }
        text.into()
    }

    /// The app's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The model's class name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The key; of one that has several columns the first.
    pub fn id(&self) -> &str {
        self.id.first().map_or("", |part| part)
    }

    /// The columns of the key.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.id.iter().map(|part| &**part)
    }

    /// A parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// The parameters in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The id as Rails writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The model itself.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError`, which a job may discard as in Rails: the loader does not know the model, does not find it, or failed.
    pub async fn load<L: Loader>(&self, loader: &L) -> Result<L::Model, JobError> {
        if !L::MODELS.contains(&self.model()) {
            return Err(deserialization(format!("uninitialized constant {}", self.model)).into());
        }
        match loader.find(self).await {
            Ok(Some(model)) => Ok(model),
            Ok(None) => {
                let id: Vec<&str> = self.ids().collect();
                Err(deserialization(format!("Couldn't find {} with 'id'={}", self.model, id.join("/"))).into())
            }
            Err(error) => Err(deserialization(error.to_string()).into()),
        }
    }
}

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where models come from: what `GlobalID::Locator` is in Ruby. The app writes one, over its database.
///
/// ```
/// use ferrokiq::JobError;
/// use ferrokiq::active_job::{GlobalId, Loader};
///
/// struct Users; // holds a pool
///
/// impl Loader for Users {
///     type Model = String;
///     const MODELS: &'static [&'static str] = &["User"];
///
///     async fn find(&self, id: &GlobalId) -> Result<Option<String>, JobError> {
///         Ok((id.id() == "7").then(|| "Grace".to_owned()))
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let user = GlobalId::new("shop", "User", 7).load(&Users).await?;
/// assert_eq!(user, "Grace");
/// let error = GlobalId::new("shop", "User", 8).load(&Users).await.unwrap_err();
/// assert_eq!(error.class(), "ActiveJob::DeserializationError");
/// # Ok::<(), JobError>(())
/// # }).map_err(|error| error.to_string())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Loader: Send + Sync {
    /// What is loaded.
    type Model: Send;
    /// Class names of the models it knows.
    const MODELS: &'static [&'static str];

    /// Looks a model up; `None` if it is gone.
    fn find(&self, id: &GlobalId) -> impl Future<Output = Result<Option<Self::Model>, JobError>> + Send;
}

/// As `CGI.escape` and `URI.encode_www_form_component`, which differ in what they leave alone.
fn escape(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn unescape(text: &str) -> Option<Box<str>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(out).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_read() {
        for text in [
            "gid://app/User/7",
            "gid://my-app/Billing::Invoice/a%2Fb+c%C3%A9",
            "gid://app/Line/7/8",
            "gid://app/User/7?a=1&b=x+y%26",
        ] {
            let gid = GlobalId::parse(text).unwrap();
            assert_eq!(gid.as_str(), text);
            assert_eq!(&*gid.render(), text);
        }
        assert_eq!(GlobalId::parse("gid://app/Line/7/8").unwrap().ids().collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!(GlobalId::parse("gid://app/User/1?a=1&a=2").unwrap().param("a"), Some("2"));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "gid://",
            "gid://app",
            "gid://app/User",
            "gid://app/User/",
            "gid://app/User//",
            "gid:///User/1",
            "http://app/User/1",
            "gid://app/User/%zz",
            "gid://app/User/%C3",
            "gid://app/Us er/1",
            "gid://app//1",
            "gid://app/User/1\n",
            "gid://äpp/User/1",
        ] {
            let error = GlobalId::parse(text).unwrap_err();
            assert_eq!(error.class(), "ActiveJob::DeserializationError", "{text}");
        }
    }
}
