//! Redis URLs as text: what Ruby's redis-client reads of them, and parameters of ours.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::primary::Sentinels;
use super::tls::Tls;

/// What a URL says. Errors are for people and never hold a password.
pub(super) struct Location {
    pub(super) info: ConnectionInfo,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) tls: Tls,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) response_timeout: Option<Duration>,
}

/// The form of a URL that names sentinels, for messages.
const SENTINEL_FORM: &str = "redis+sentinel://user:password@host:26379,host:26379/PRIMARY/DB";

/// The parameters that a URL may have, for messages.
const PARAMETERS: &str = "db, username, password, timeout, connect_timeout, read_timeout, write_timeout, protocol, ssl, ssl_ca_file, \
                          ssl_fingerprint, ssl_verify_mode, ssl_cert and ssl_key";

/// The most likely cause of a URL that cannot be read.
const ENCODE: &str = "special characters in a password are written with a percent sign: @ %40, : %3A, / %2F, ? %3F, # %23, % %25, + %2B, \
                      space %20";

const DEFAULT_PORT: u16 = 6379;

pub(super) fn parse(url: &str) -> Result<Location, String> {
    let url = url.trim_ascii();
    let Some((scheme, rest)) = scheme_and_rest(url) else { return Err(hint_for_no_scheme(url)) };
    let is_tls = matches!(scheme.as_str(), "rediss" | "valkeys" | "rediss+sentinel");
    if is_tls && cfg!(not(feature = "tls")) {
        return Err(format!("{scheme}://... needs TLS: build ferrokiq with feature `tls`"));
    }
    match scheme.as_str() {
        "redis" | "rediss" | "valkey" | "valkeys" => of_tcp(is_tls, rest).map_err(|why| wrong(&scheme, &why)),
        "unix" | "redis+unix" | "valkey+unix" => of_unix(rest).map_err(|why| wrong(&scheme, &why)),
        "redis+sentinel" | "rediss+sentinel" => of_sentinels(is_tls, rest),
        _ if scheme.contains("sentinel") => {
            Err(format!("{} has no scheme ferrokiq knows: sentinels are named by {SENTINEL_FORM}", shown(&scheme)))
        }
        _ => Err(wrong(&shown(&scheme), "use redis://host:port/db, rediss:// or unix:///path")),
    }
}

fn wrong(scheme: &str, why: &str) -> String {
    let scheme = if scheme.contains(' ') { scheme.to_owned() } else { format!("{scheme}://...") };
    format!("{scheme} is no Redis URL: {why}")
}

/// The scheme in lower case, and what is behind `://`. A path of a socket needs no scheme.
fn scheme_and_rest(url: &str) -> Option<(String, &str)> {
    if url.starts_with('/') {
        return Some(("unix".to_owned(), url));
    }
    let (scheme, rest) = url.split_once(':')?;
    match rest.strip_prefix("//") {
        Some(rest) => Some((scheme.to_ascii_lowercase(), rest)),
        None if scheme == "unix" && rest.starts_with('/') => Some((scheme.to_owned(), rest)),
        None => None,
    }
}

/// The value is not shown: it may be a password.
fn hint_for_no_scheme(url: &str) -> String {
    let port = url.rsplit_once(':').map_or(url, |(_, port)| port);
    if !url.is_empty() && url.bytes().all(|byte| byte.is_ascii_digit()) {
        "the value is no Redis URL but a number: if it is a port, write redis://localhost:PORT/0".to_owned()
    } else if url.contains(':') && port.parse::<u16>().is_ok() {
        "the value is no Redis URL, it has no scheme: write redis://HOST:PORT/0".to_owned()
    } else {
        "the value is no Redis URL: use redis://host:port/db, rediss:// or unix:///path".to_owned()
    }
}

/// `redis://word@host` holds a password, as in Ruby. With credentials from elsewhere it is the name of the user.
pub(super) fn lone_word_is_password(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings();
    match (settings.username(), settings.password()) {
        (Some(word), None) => {
            let settings = settings.clone().set_username("default").set_password(word);
            info.set_redis_settings(settings)
        }
        _ => info,
    }
}

/// A scheme that people use may be shown; what else stands there may be a password.
fn shown(scheme: &str) -> String {
    const SCHEMES: [&str; 6] = ["sentinel", "redis-sentinel", "redis", "rediss", "http", "https"];
    if SCHEMES.contains(&scheme) { scheme.to_owned() } else { "the value".to_owned() }
}

/// `[user:password@]host[:port][/db][?parameters]`.
fn of_tcp(is_tls: bool, rest: &str) -> Result<Location, String> {
    let (authority, path, parameters) = split(rest)?;
    let (userinfo, address) = match authority.split_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority),
    };
    let (host, port) = host_and_port(address)?;
    let path = path.trim_matches('/');
    let db = if path.is_empty() { parameters.db } else { Some(number_of_db(path)?) };
    let is_tls = match parameters.ssl {
        Some(true) if !is_tls && cfg!(not(feature = "tls")) => {
            return Err("ssl=true needs TLS: build ferrokiq with feature `tls`".to_owned());
        }
        Some(false) if is_tls => return Err("ssl=false contradicts the scheme".to_owned()),
        ssl => is_tls || ssl == Some(true),
    };
    if !is_tls && parameters.tls != Tls::default() {
        return Err("parameters that begin with ssl_ need a URL with rediss://".to_owned());
    }
    let addr = if is_tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    location(addr, db, userinfo, parameters)
}

/// `[user:password@]/path[?parameters]`. The path is taken as it is, as in Ruby: percent signs, too.
fn of_unix(rest: &str) -> Result<Location, String> {
    let (authority, path, parameters) = split(rest)?;
    let (userinfo, host) = match authority.split_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    if !host.is_empty() || path.is_empty() {
        return Err("the path of a socket begins with three slashes: unix:///run/redis.sock".to_owned());
    }
    if parameters.ssl == Some(true) || parameters.tls != Tls::default() {
        return Err("a socket has no TLS".to_owned());
    }
    let db = parameters.db;
    location(ConnectionAddr::Unix(path.into()), db, userinfo, parameters)
}

fn location(
    addr: ConnectionAddr,
    db: Option<i64>,
    userinfo: Option<&str>,
    parameters: Parameters,
) -> Result<Location, String> {
    let mut settings = RedisConnectionInfo::default().set_db(db.unwrap_or(0));
    let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':').ok_or(userinfo)) {
        Some(Ok((user, password))) => (user, Some(form_decoded(of_userinfo(password)?)?)),
        Some(Err(user)) => (user, None),
        None => ("", None),
    };
    let user = percent_decoded(of_userinfo(user)?)?;
    if (!user.is_empty() && parameters.username.is_some()) || (password.is_some() && parameters.password.is_some()) {
        return Err("user or password is there twice, before the host and as a parameter".to_owned());
    }
    if let Some(user) = parameters.username.or(Some(user).filter(|user| !user.is_empty())) {
        settings = settings.set_username(user);
    }
    if let Some(password) = parameters.password.or(password) {
        settings = settings.set_password(password);
    }
    let info = addr.into_connection_info().map_err(|_| "it has no address".to_owned())?;
    Ok(Location {
        info: info.set_redis_settings(settings),
        sentinels: None,
        tls: parameters.tls,
        connect_timeout: parameters.connect_timeout,
        response_timeout: parameters.response_timeout,
    })
}

/// Authority, path and parameters. A part that holds an `@` is most likely the end of a password.
fn split(rest: &str) -> Result<(&str, &str, Parameters), String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.matches('@').count() > 1 || rest.contains('@') {
        return Err(ENCODE.to_owned());
    }
    if rest.contains('#') {
        return Err(format!("it has a # ({ENCODE}); TLS is set up by ssl_verify_mode, ssl_ca_file or ssl_fingerprint"));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok((authority, path, Parameters::of(query)?))
}

fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return Err(format!("the host cannot be read; {ENCODE}")),
        },
        None => address.find(':').map_or((address, ""), |at| address.split_at(at)),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(DEFAULT_PORT),
        None => None,
        Some("") => Some(DEFAULT_PORT),
        Some(digits) => digits.parse().ok().filter(|port| *port > 0),
    };
    match port {
        _ if !host.bytes().all(is_name) => Err(format!("the host cannot be read; {ENCODE}")),
        None => Err(format!("the port is not a number from 1 to 65535; {ENCODE}")),
        Some(port) if host.is_empty() => Ok(("localhost".to_owned(), port)),
        Some(port) => Ok((host.to_owned(), port)),
    }
}

/// Plain decimal digits: Sidekiq 6 reads `010` as 10, later ones as 8.
fn number_of_db(text: &str) -> Result<i64, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or_else(|| "the database is no plain number".to_owned())
}

/// Text before an `@`, if it holds no character that a URL may not have there.
fn of_userinfo(text: &str) -> Result<&str, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
    if text.bytes().all(is_allowed) { Ok(text) } else { Err(ENCODE.to_owned()) }
}

/// As Ruby decodes forms: a plus sign is a space.
fn form_decoded(text: &str) -> Result<String, String> {
    percent_decoded(&text.replace('+', " "))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let byte = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                byte.ok_or(ENCODE)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "user or password is not UTF-8".to_owned())
}

/// What stands behind the question mark.
#[derive(Default)]
struct Parameters {
    db: Option<i64>,
    username: Option<String>,
    password: Option<String>,
    ssl: Option<bool>,
    tls: Tls,
    connect_timeout: Option<Duration>,
    response_timeout: Option<Duration>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
}

impl Parameters {
    /// Names of parameters are shown, values never.
    fn of(query: &str) -> Result<Self, String> {
        let (mut parameters, mut seen) = (Self::default(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("it has a parameter without a value")?;
            let value = form_decoded(value).map_err(|_| "it has a parameter that cannot be decoded")?;
            if !value.is_empty() {
                parameters.set(name, value)?;
                // Known by now, so it may be shown.
                if seen.contains(&name) {
                    return Err(format!("the parameter {name} stands there twice"));
                }
                seen.push(name);
            }
        }
        parameters.tls.check()?;
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "db" => self.db = Some(number_of_db(&value)?),
            "username" | "user" => self.username = Some(value),
            "password" | "pass" => self.password = Some(value),
            "timeout" => {
                let timeout = seconds(name, &value)?;
                self.connect_timeout.get_or_insert(timeout);
                self.response_timeout.get_or_insert(timeout);
            }
            "connect_timeout" => self.connect_timeout = Some(seconds(name, &value)?),
            // One setting here: how long Redis may be silent. The longer one counts.
            "read_timeout" | "write_timeout" => {
                self.response_timeout = self.response_timeout.max(Some(seconds(name, &value)?));
            }
            "protocol" if matches!(value.as_str(), "3" | "resp3") => {}
            "protocol" => return Err("only protocol=3 works, as with Sidekiq 7 and later".to_owned()),
            "ssl" => {
                self.ssl = Some(value.parse().map_err(|_| "ssl is true or false")?);
            }
            "sentinel_username" => self.sentinel_username = Some(value),
            "sentinel_password" => self.sentinel_password = Some(value),
            _ if Tls::NAMES.iter().any(|(known, _)| *known == name) => self.tls.set(name, &value)?,
            _ => {
                let is_word = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let name = if is_word { format!("the parameter {name}") } else { "a parameter".to_owned() };
                return Err(format!("{name} is not known; known are {PARAMETERS}"));
            }
        }
        Ok(())
    }
}

/// A time in seconds, with a point if need be.
fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let is_sensible = |seconds: &Duration| !seconds.is_zero() && *seconds <= Duration::from_secs(3_600);
    seconds.filter(is_sensible).ok_or_else(|| format!("{name} is no number of seconds above 0, up to 3600"))
}

/// `[user:password@]host[:port][,host[:port]...]/PRIMARY[/DB][?sentinel_username=U&sentinel_password=P&...]`, as
/// Python's `redis-sentinel-url` and `limits` write it. User and password before the hosts are those of the data servers.
fn of_sentinels(is_tls: bool, rest: &str) -> Result<Location, String> {
    let wrong = |what: &str| format!("this URL of sentinels has {what}: it should be {SENTINEL_FORM}");
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    let (primary, db) = path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), "0"));
    if primary.is_empty() {
        return Err(wrong("no name of the primary"));
    }
    let mut parameters =
        Parameters::of(query).map_err(|why| wrong(&format!("a parameter that cannot be used ({why})")))?;
    let of_sentinel = (parameters.sentinel_username.take(), parameters.sentinel_password.take());
    let addr = |host: String, port| match is_tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let db = number_of_db(db).map_err(|_| wrong("a database that cannot be read"))?;
    let nodes = hosts
        .split(',')
        .map(|host| {
            let port = if host.ends_with(']') || !host.contains(':') { ":26379" } else { "" };
            let (host, port) = host_and_port(&format!("{host}{port}"))?;
            let node = addr(host, port).into_connection_info().map_err(|error| error.to_string())?;
            let mut settings = RedisConnectionInfo::default();
            if let Some(username) = &of_sentinel.0 {
                settings = settings.set_username(username.clone());
            }
            if let Some(password) = &of_sentinel.1 {
                settings = settings.set_password(password.clone());
            }
            Ok(node.set_redis_settings(settings))
        })
        .collect::<Result<Vec<_>, String>>()
        .map_err(|_| wrong("a host that cannot be read"))?;
    if hosts.split(',').any(|host| host.is_empty() || host.starts_with(':')) {
        return Err(wrong("a host that cannot be read"));
    }
    let any = addr(String::new(), DEFAULT_PORT);
    let location = location(any, Some(db), userinfo, parameters)
        .map_err(|_| wrong(&format!("a user or password that cannot be read ({ENCODE})")))?;
    Ok(Location { sentinels: Some(Sentinels { primary: primary.to_owned(), nodes }), ..location })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(url: &str) -> (ConnectionInfo, Sentinels) {
        let Location { info, sentinels, .. } = parse(url).unwrap();
        (info, sentinels.unwrap())
    }

    /// What a connection is made of, as in `ruby-fixtures/redis_urls.jsonl`.
    fn described(url: &str) -> serde_json::Value {
        let Ok(Location { info, .. }) = parse(url) else { return serde_json::json!("error") };
        let info = lone_word_is_password(info);
        let (host, port, path) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (Some(host.clone()), Some(*port), None)
            }
            ConnectionAddr::Unix(path) => (None, None, Some(path.display().to_string())),
            _ => (None, None, None),
        };
        let settings = info.redis_settings();
        serde_json::json!({
            "host": host, "port": port, "path": path, "db": settings.db(),
            "tls": matches!(info.addr(), ConnectionAddr::TcpTls { .. }),
            "user": settings.username().unwrap_or("default"), "pass": settings.password(),
        })
    }

    /// URLs that are read in another way than by some Sidekiq, on purpose: which (6, or 7 and 8), and why.
    const DIFFERENT: &[(&str, &str, &str)] = &[
        ("redis://h?db=2", "6", "Sidekiq 6 reads no parameters; 7 and 8 read this one"),
        ("redis://h/?db=3&timeout=2", "6", "Sidekiq 6 reads no parameters; 7 and 8 read this one"),
        ("redis://h?DB=2", "6 8", "Ruby ignores parameters that it does not know"),
        ("redis://s3cr3t@h", "6", "a word alone is the password for 7 and 8; 6 sends nothing"),
        ("redis://u:@h", "6", "7 and 8 send the empty password"),
        ("redis://u%40x:p%40q@h", "8", "7 and 8 send the percent signs of a user's name; no server knows such a user"),
        ("redis://h/2/", "8", "7 and 8 fail"),
        ("redis://h/x", "6", "6 takes database 0"),
        ("redis://h/010", "6 8", "6 and 8 read two different numbers"),
        ("redis://h/1_0", "6 8", "6 and 8 read two different numbers"),
        ("redis://h/-1", "6 8", "no database has this number"),
        ("redis://h:0/1", "6 8", "Ruby fails when it connects"),
        ("redis://h:99999/1", "6 8", "Ruby fails when it connects"),
        ("redis://h/1#frag", "6 8", "a # is most likely part of a password"),
        ("unix:///run/redis.sock?db=2", "6", "Sidekiq 6 reads no parameters; 7 and 8 read this one"),
        ("unix://run/redis.sock", "6 8", "Ruby takes it for a socket in the working directory"),
        ("unix://:p@/run/redis.sock?db=1", "6", "6 ignores the password and the parameter"),
        ("unix:///run/redis.sock?db=1&user=u&pass=p", "6 8", "user and pass are parameters of ferrokiq"),
        ("/run/redis.sock", "6", "6 fails"),
        ("6379", "8", "Ruby takes it for a socket in the working directory"),
        ("localhost", "8", "Ruby takes it for a socket in the working directory"),
        ("redis:h:1", "6 8", "Ruby ignores the host"),
        ("valkey://h/1", "6 8", "Ruby knows no such scheme"),
        ("redis+unix:///run/redis.sock", "6 8", "Ruby knows no such scheme"),
        (" redis://h/1", "6 8", "Ruby fails; secrets from files often end in a line break"),
        ("redis://h/1\n", "6 8", "Ruby fails; secrets from files often end in a line break"),
        ("redis://h?password=p", "6 8", "Ruby ignores it and connects without a password"),
        ("redis://h/1?protocol=2", "6 8", "Ruby ignores it, ferrokiq speaks version 3"),
        ("redis://h?foo=bar", "6 8", "Ruby ignores parameters that it does not know"),
        ("redis://h/2?db=x", "6 8", "Ruby does not look at it"),
        ("redis://h%20x/1", "6 8", "Ruby fails when it connects"),
        ("redis://a,b/1", "6 8", "Ruby fails when it connects"),
    ];

    #[test]
    #[cfg(feature = "tls")]
    fn urls_are_read_as_ruby_reads_them() {
        let recorded = include_str!("../../ruby-fixtures/redis_urls.jsonl");
        let (mut different, mut urls) = (Vec::new(), 0);
        for line in recorded.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let url = line["url"].as_str().unwrap();
            let ours = described(url);
            let is_same = |major: &str| match &line[major] {
                ruby if !ruby["error"].is_null() => ours == "error",
                // Resolved to the same address.
                ruby if ruby["host"] == "127.0.0.1" && ours["host"] == "localhost" => {
                    let mut ruby = ruby.clone();
                    ruby["host"] = "localhost".into();
                    ruby == ours
                }
                ruby => *ruby == ours,
            };
            assert_eq!(is_same("7"), is_same("8"), "{url}");
            urls += 1;
            let which = [("6", is_same("6")), ("8", is_same("8"))].into_iter().filter(|(_, same)| !same);
            let which = which.map(|(major, _)| major).collect::<Vec<_>>().join(" ");
            if !which.is_empty() {
                different.push((url.to_owned(), which));
            }
        }
        let expected: Vec<_> =
            DIFFERENT.iter().map(|(url, which, _)| ((*url).to_owned(), (*which).to_owned())).collect();
        assert!(urls >= 60);
        assert_eq!(different, expected);
    }

    #[test]
    fn parameters_are_honoured_or_refused_by_name() {
        let location = parse("redis://h/1?timeout=2.5&connect_timeout=1&protocol=3&username=u&password=p%2Bq").unwrap();
        let settings = location.info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p+q"), 1));
        let seconds = |secs| Some(Duration::from_secs_f64(secs));
        assert_eq!((location.connect_timeout, location.response_timeout), (seconds(1.0), seconds(2.5)));
        let location = parse("unix:///a?read_timeout=4&write_timeout=5").unwrap();
        assert_eq!((location.connect_timeout, location.response_timeout), (None, seconds(5.0)));
        for (url, culprit) in [
            ("redis://h?db=1&db=2", "the parameter db stands there twice"),
            ("redis://h?timeout=1&db=&timeout=2", "the parameter timeout stands there twice"),
            ("redis://h?foo=s3cr3t", "the parameter foo is not known; known are db,"),
            ("redis://h?ssl_ca_cert=/f", "the parameter ssl_ca_cert"),
            ("redis://h?reconnect_attempts=3", "the parameter reconnect_attempts"),
            ("redis://h?timeout=soon", "timeout is no number of seconds"),
            ("redis://h?timeout=0", "timeout is no number of seconds"),
            ("redis://h?protocol=2", "only protocol=3"),
            ("redis://h?ssl_verify_mode=none", "need a URL with rediss://"),
            ("redis://:s3cr3t@h?password=s3cr3t", "twice"),
            ("unix:///a?ssl=true", "no TLS"),
        ] {
            let error = parse(url).map(|_| url).unwrap_err();
            assert!(error.contains(culprit) && !error.contains("s3cr3t"), "{url}: {error}");
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn parameters_of_tls_are_read() {
        for (url, tls) in [
            ("rediss://h?ssl_verify_mode=none", Tls::new().without_verification()),
            ("redis://h?ssl=true&ssl_ca_file=/a%20b.pem", Tls::new().ca_file("/a b.pem")),
            ("rediss+sentinel://h/p?ssl_cert=c&ssl_key=k", Tls::new().client_certificate("c", "k")),
            ("rediss://h?ssl_verify_mode=peer", Tls::new()),
        ] {
            let location = parse(url).unwrap();
            assert!(location.tls == tls && matches!(location.info.addr(), ConnectionAddr::TcpTls { .. }), "{url}");
        }
        for (url, culprit) in [
            ("rediss://h#insecure", "ssl_verify_mode"),
            ("rediss://h?ssl_cert=c", "both ssl_cert and ssl_key"),
            ("rediss://h?ssl=false", "contradicts"),
            ("rediss://h?ssl_verify_mode=VERIFY_NONE", "none or peer"),
        ] {
            let error = parse(url).map(|_| url).unwrap_err();
            assert!(error.contains(culprit), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_no_url_gets_a_hint_and_is_not_shown() {
        for (text, hint) in [
            ("6379", "redis://localhost:PORT/0"),
            ("1234567890", "a number"),
            ("localhost:6379", "redis://HOST:PORT/0"),
            ("s3cr3t", "use redis://host:port/db"),
            ("redis://:s3cr3t#x@h/1", "# %23"),
            ("redis://:6400#s3cr3t@h/1", "# %23"),
            ("redis://:s3cr3t/x@h/1", "/ %2F"),
            ("redis://:12/s3cr3t@h/1", "/ %2F"),
            ("redis://:12?s3cr3t=@h/1", "? %3F"),
            ("redis://:s3cr3t@x@h/1", "@ %40"),
            ("redis://:s3cr3t x@h/1", "space %20"),
            ("redis://:s3cr3t%x@h/1", "% %25"),
            ("redis://:s3cr3t[@h/1", "percent sign"),
            ("redis://s3cr3t:x", "the port is not a number"),
        ] {
            let error = parse(text).map(|_| text).unwrap_err();
            assert!(error.contains(hint) && !error.contains("s3cr3t"), "{text}: {error}");
            assert!(!error.contains("1234567890"), "{error}");
        }
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
            ("redis+sentinel://a/p?sentinel_password=s3cr3t%x", "a parameter"),
            ("redis+sentinel://a/p?s3cr3t", "without a value"),
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
