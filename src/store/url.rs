//! Redis URLs as text.

use redis::{ConnectionInfo, IntoConnectionInfo};

use super::sentinel::Sentinels;

/// What a URL says. Errors are for people and never hold a password.
pub(super) struct Location {
    pub(super) info: ConnectionInfo,
    pub(super) sentinels: Option<Sentinels>,
}

/// The form of a URL that names sentinels, for messages.
const SENTINEL_FORM: &str = "redis+sentinel://user:password@host:26379,host:26379/PRIMARY/DB";

pub(super) fn parse(url: &str) -> Result<Location, String> {
    let scheme = url.split("://").next().unwrap_or_default();
    if matches!(scheme, "rediss" | "rediss+sentinel") && cfg!(not(feature = "tls")) {
        return Err(format!("{} needs TLS: build ferrokiq with feature `tls`", scheme_of(url)));
    }
    match scheme {
        "redis+sentinel" => of_sentinels("redis", url),
        "rediss+sentinel" => of_sentinels("rediss", url),
        _ if scheme.contains("sentinel") => {
            Err(format!("{} has no scheme ferrokiq knows: sentinels are named by {SENTINEL_FORM}", scheme_of(url)))
        }
        // The URL parser's own error may quote the URL, password and all: it is dropped.
        _ => match url.into_connection_info() {
            Ok(info) => Ok(Location { info, sentinels: None }),
            Err(_) => {
                Err(format!("{} is no Redis URL: use redis://host:port/db, rediss:// or unix:///path", scheme_of(url)))
            }
        },
    }
}

/// `redis+sentinel://[user:password@]host[:port][,host[:port]...]/PRIMARY[/DB][?sentinel_username=U&sentinel_password=P]`, as
/// Python's `redis-sentinel-url` and `limits` write it. User and password before the hosts are those of the data servers.
fn of_sentinels(scheme: &str, url: &str) -> Result<Location, String> {
    let wrong = |what: &str| format!("this URL of sentinels has {what}: it should be {SENTINEL_FORM}");
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (format!("{userinfo}@"), hosts),
        None => (String::new(), authority),
    };
    let (primary, db) = path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), "0"));
    if primary.is_empty() {
        return Err(wrong("no name of the primary"));
    }
    let (mut sentinel_username, mut sentinel_password) = ("", None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_username", username)) => sentinel_username = username,
            Some(("sentinel_password", password)) => sentinel_password = Some(password),
            _ => return Err(wrong("a parameter that is neither sentinel_username nor sentinel_password")),
        }
    }
    // The parser of plain URLs does the rest: percent signs, IPv6, numbers.
    let info = format!("{scheme}://{userinfo}127.0.0.1/{db}")
        .into_connection_info()
        .map_err(|_| wrong("a user, password or database that cannot be read"))?;
    let of_sentinel = match sentinel_password {
        Some(password) => format!("{sentinel_username}:{password}@"),
        None => String::new(),
    };
    let nodes = hosts
        .split(',')
        .map(|host| {
            let port = if host.ends_with(']') || !host.contains(':') { ":26379" } else { "" };
            // A password that is not percent-encoded ends here, too: the host is not to blame then.
            let what = if of_sentinel.is_empty() { "a host" } else { "a host, or a sentinel_password," };
            format!("{scheme}://{of_sentinel}{host}{port}")
                .into_connection_info()
                .map_err(|_| wrong(&format!("{what} that cannot be read")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Location { info, sentinels: Some(Sentinels { primary: primary.to_owned(), nodes }) })
}

/// All that can be shown of a URL that cannot be read: what is a password in it, only whoever wrote it knows.
fn scheme_of(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if SCHEMES.contains(&scheme) => format!("{scheme}://..."),
        _ => "the value".to_owned(),
    }
}

/// Those that people use, for Redis and by mistake.
const SCHEMES: [&str; 11] = [
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "sentinel",
    "valkey",
    "valkeys",
    "unix",
    "redis+unix",
    "http",
    "https",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(url: &str) -> (ConnectionInfo, Sentinels) {
        let Location { info, sentinels } = parse(url).unwrap();
        (info, sentinels.unwrap())
    }

    #[test]
    fn reads_sentinels() {
        let (info, sentinels) = sentinels(
            "redis+sentinel://me:p%40ss@a:1,b,[::1]:3,[::2]/main.one/5?sentinel_username=s&sentinel_password=t%3At",
        );
        let settings = info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("p@ss"), 5));
        assert_eq!(sentinels.primary, "main.one");
        let shown: Vec<String> = sentinels.nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!(shown, ["a:1", "b:26379", "::1:3", "::2:26379"]);
        for node in &sentinels.nodes {
            let settings = node.redis_settings();
            assert_eq!((settings.username(), settings.password(), settings.db()), (Some("s"), Some("t:t"), 0));
        }
    }

    #[test]
    fn needs_no_more_than_a_host_and_a_name() {
        for url in ["redis+sentinel://a/p", "redis+sentinel://a/p/", "redis+sentinel://a/p/0/"] {
            let (info, sentinels) = sentinels(url);
            assert_eq!((sentinels.primary.as_str(), sentinels.nodes.len()), ("p", 1));
            assert_eq!((info.redis_settings().db(), info.redis_settings().password()), (0, None));
            assert_eq!(sentinels.nodes[0].redis_settings().password(), None);
        }
    }

    #[test]
    fn says_what_is_wrong_and_shows_no_password() {
        for (url, culprit) in [
            ("redis+sentinel://:s3cr3t@a:1,b", "no name of the primary"),
            ("redis+sentinel://:s3cr3t@a:1/", "no name of the primary"),
            ("redis+sentinel://:s3cr3t@a:1/p/x", "database"),
            ("redis+sentinel://:s3cr3t@a:99999/p", "a host"),
            ("redis+sentinel://:s3cr3t@/p", "a host"),
            ("redis+sentinel://:s3cr3t@a,,b/p", "a host"),
            ("redis+sentinel://a/p?sentinel_password=s3cr3t/x", "sentinel_password"),
            ("redis+sentinel://a/p?password=s3cr3t", "neither"),
            ("sentinel://:s3cr3t@a/p", "redis+sentinel://"),
            ("redis-sentinel://:s3cr3t@a/0#p", "redis+sentinel://"),
            ("unix:///a?pass=s3@cr3t&db=x", "unix://... is no"),
            ("redis://:s3cr3t?@h:x/0", "redis://... is no"),
        ] {
            let error = parse(url).map(|_| url).unwrap_err();
            assert!(error.contains(culprit) && !error.contains("cr3t"), "{url}: {error}");
        }
    }
}
