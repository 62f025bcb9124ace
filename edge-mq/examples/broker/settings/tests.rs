use std::collections::BTreeSet;

use super::*;

const REFERENCE: &str = include_str!("../broker.toml");

fn read(dir: &Path, text: &str) -> Result<Settings, Vec<Mistake>> {
    Settings::of(&dir.join("broker.toml"), text, &Overrides::default())
}

/// Each mistake as `line: what`, or `file:line: what` if it is in another file.
fn mistakes(dir: &Path, text: &str) -> Vec<String> {
    let mistakes = read(dir, text).err().unwrap_or_default();
    let shown = mistakes.iter().map(|mistake| {
        let shown = mistake.to_string();
        let shown = shown.strip_prefix(&format!("{}/", dir.display())).unwrap_or(&shown);
        shown
            .strip_prefix("broker.toml:")
            .unwrap_or(shown)
            .replace(&format!("{}/", dir.display()), "")
    });
    shown.collect()
}

/// A folder with a certificate and its key, which is also its authority's.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let files = [
        ("gateway.pem", made.cert.pem()),
        ("devices-ca.pem", made.cert.pem()),
        ("broker-ca.pem", made.cert.pem()),
        ("gateway.key", made.signing_key.serialize_pem()),
        ("users", "ann:$7$101$c2FsdA==$".to_owned() + &hash()),
        ("issuer.pem", made.signing_key.public_key_pem()),
        ("rules", "user ann\ntopic a/#\n".to_owned()),
    ];
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

/// 64 bytes in base 64; nobody logs in here.
fn hash() -> String {
    format!("{}A==", "A".repeat(85))
}

/// The reference with lines uncommented: those of these beginnings, and all that spell out defaults
/// if that is wanted.
fn reference(also: &[&str], with_defaults: bool) -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with([' ', '\n']) || key.is_empty() => line.to_owned(),
        Some(key) if also.iter().any(|start| key.starts_with(start)) => key.to_owned(),
        Some(key) if with_defaults && !key.contains("# example") => key.to_owned(),
        _ => line.to_owned(),
    };
    let (without_bridges, _) = REFERENCE.split_once("\n#[[bridge]]").unwrap();
    let text = if cfg!(feature = "bridge") { REFERENCE } else { without_bridges };
    let (before_jwt, jwt) = text.split_once("\n#[jwt]").unwrap();
    let (_, behind_jwt) = jwt.split_once("\n\n# Who may do what, in front").unwrap();
    let without_jwt = format!("{before_jwt}\n\n# Who may do what, in front{behind_jwt}");
    let text = if cfg!(feature = "jwt") { text } else { &without_jwt };
    text.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_reference_spells_out_is_what_holds_without_it() {
    let dir = folder();
    let needed = [
        "data",
        "[",
        "certificate =",
        "key =",
        "client_ca =",
        "trusted",
        "filter",
        "log =",
        "name",
        "remotes",
        "public_key_file",
        "algorithm",
        "allow =",
    ];
    let spelled_out = read(dir.path(), &reference(&needed, true)).unwrap();
    let needed = read(dir.path(), &reference(&needed, false)).unwrap();
    assert_eq!(format!("{spelled_out:?}"), format!("{needed:?}"));
    // And with nothing uncommented.
    let reference = read(dir.path(), REFERENCE).unwrap();
    assert_eq!(reference.limits, Limits::default());
    let empty = read(dir.path(), "").unwrap();
    assert_eq!(reference.listeners[0].door, empty.listeners[0].door);
    assert_eq!(reference.listeners.len(), 1);
}

#[test]
fn reference_has_every_key_and_no_other() {
    let dir = folder();
    // A key that is nowhere makes each table say what it knows.
    let asking = |line: &str| match line.starts_with('[') {
        true => format!("{line}\nnowhere = 1\n"),
        false => format!("{line}\n"),
    };
    let text: String = reference(&[""], true).lines().map(asking).collect();
    let said = mistakes(dir.path(), &format!("nowhere = 1\n{text}"));
    let unknown: Vec<_> = said.iter().filter(|said| said.contains("unknown key")).collect();
    assert!(unknown.iter().all(|said| said.contains("`nowhere`")), "{unknown:#?}");
    assert_eq!(unknown.len(), text.matches("nowhere").count() + 1, "{unknown:#?}");
    let known: BTreeSet<_> = unknown
        .iter()
        .flat_map(|said| said.split_once("there are ").unwrap().1.split(", "))
        .collect();
    assert!(known.len() > 40, "{known:?}");
    let parts = [("bridge", cfg!(feature = "bridge")), ("jwt", cfg!(feature = "jwt"))];
    for key in known.into_iter().filter(|key| !parts.contains(&(*key, false))) {
        let is_there = text.lines().any(|line| {
            line.starts_with(&format!("{key} ="))
                || line.contains(&format!("[{key}]"))
                || line.contains(&format!(".{key}]"))
        });
        assert!(is_there, "{key} is not in the reference");
    }
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_to_do() {
    let dir = folder();
    fs::write(dir.path().join("bad-users"), "ann:secret\n\nbob\n").unwrap();
    fs::write(dir.path().join("bad-rules"), "topik a\nuser ann\ntopic read a/#/b\n").unwrap();
    fs::write(dir.path().join("binary"), [0xFF, 0xFE]).unwrap();
    let table: &[(&str, &[&str])] = &[
        ("a = ", &["1: this is no TOML"]),
        (
            "\nallow_anonymous true",
            &["2: this is no TOML: key with no value, expected `=`; of a mosq"],
        ),
        ("port = 1", &["1: unknown key `port` in the file; it belongs in [[listener]]"]),
        (
            "[access]\nmax_keepalive = 1",
            &["2: unknown key `max_keepalive` in [access]; mosquitto's"],
        ),
        ("datta = 'x'", &["1: unknown key `datta` in the file; did you mean `data`?"]),
        (
            "[limits]\nconections = 5\nsessions = 'many'\n[listner]",
            &[
                "2: unknown key `conections` in [limits]; did you mean `connections`?",
                "3: `sessions` is a whole number, not \"many\"",
                "4: unknown key `listner` in the file; did you mean `listener`?",
            ],
        ),
        ("[limits]\nconnect_within = 10", &["2: `connect_within` is a time with its unit"]),
        ("[limits]\nqueue_bytes = '5 MB'", &["2: `queue_bytes` is a number of bytes"]),
        ("[limits]\nqueue_when_full = 'block'", &["2: `queue_when_full` is \"drop newest\" or"]),
        ("[limits]\nreceive_maximum = 0", &["2: `receive_maximum` is 1 at least"]),
        ("[limits]\nmax_keep_alive = '1 days'", &["2: `max_keep_alive` is from 1 s"]),
        ("[limits]\ntopic_aliases = 65536", &["2: `topic_aliases` is a whole number up to 65535"]),
        ("access = 1", &["1: `access` is a table: write [access]"]),
        ("[access]\npassword_file = 'gone'", &["2: `password_file`: cannot read gone: No such"]),
        (
            "[access]\npassword_file = 'bad-users'\nacl_file = 'bad-rules'",
            &[
                "bad-rules:1: `topik` is none of",
                "bad-rules:3: `a/#/b` is no topic filter of a rule",
                "bad-users:1: the password of `ann` is not hashed",
                "bad-users:3: it is no user name and hash",
            ],
        ),
        ("[access]\nacl_file = 'binary'", &["binary: this is no text"]),
        ("[access]\nallow_anonymous = false", &["1: `allow_anonymous = false` without a `passw"]),
        ("[listener]\nport = 1", &["1: `listener` can be there several times: write [[listener]]"]),
        ("[[listener]]\nport = 70000", &["2: `port` is a whole number up to 65535, not 70000"]),
        ("[[listener]]\nbind_address = 'localhost'", &["2: `bind_address`: invalid IP address"]),
        ("[[listener]]\nbind_address = '0.0.0.0'", &["2: everybody could come in who reaches"]),
        (
            "[[listener]]\nport = 1\n\n[[listener]]\nport = 1\nbind_address = '127.0.0.1'",
            &["4: the listener of line 1 is at 127.0.0.1:1 already"],
        ),
        (
            "[access]\nallow_anonymous = true\n[[listener]]\nbind_address = '0.0.0.0'\n[[listener]]",
            &["5: the listener of line 3 is at 0.0.0.0:1883 already"],
        ),
        ("[[listener]]\norigins = ['*']", &["2: `origins` are of WebSocket"]),
        ("[[listener]]\nunix = 's'\nport = 1", &["3: `port` and `unix` are two listeners"]),
        ("[[listener]]\nunix = 's'\nmode = '999'", &["3: `mode`: invalid digit"]),
        ("[[listener]]\nmode = '660'", &["2: `mode` is of the file of a Unix socket"]),
        (
            "[[listener]]\n[listener.tls]\ncertificate = 'gone.pem'",
            &["2: `key` is missing in [listener.tls]", "3: `certificate`: cannot read gone.pem"],
        ),
        (
            "[[listener]]\n[listener.tls]\ncertificate = 'users'\nkey = 'gateway.key'",
            &["3: users holds no certificate in PEM"],
        ),
        (
            "[[listener]]\n[listener.tls]\ncertificate = 'gateway.pem'\nkey = 'gateway.key'\n\
             users_by = 'name'\nrevoked = 'gateway.pem'",
            &[
                "5: `users_by` is \"common name\" or",
                "5: `users_by` is about clients' certificates: set `client_ca`",
                "6: `revoked` is about clients' certificates",
            ],
        ),
        (
            "[[listener]]\n[listener.tls]\ncertificate = 'gateway.pem'\nkey = 'gateway.key'\n\
             client_ca = 'devices-ca.pem'\nrevoked = 'gateway.pem'",
            &["gateway.pem holds no revocation list in PEM"],
        ),
        (
            "[[journal]]\nfilter = 'a/#/b'\n[[journal]]\nlog = 'x'",
            &[
                "1: `log` is missing in [journal]",
                "1: messages are stored in a database: set `data`",
                "2: `filter`: `#` in topic filter is not its last level",
                "3: `filter` is missing",
            ],
        ),
        ("[log]\nlevel = 'notice'", &["2: `level` is \"off\" or \"error\" or"]),
        (
            "[log]\nformat = 'xml'\nfile = 'gone/log'\ntime = 1\nfacility = 5",
            &[
                "2: `format` is \"text\" or \"json\", not \"xml\"",
                "3: `file`: there is no folder gone",
                "4: `time` is true or false, not 1",
                "5: unknown key `facility` in [log]",
            ],
        ),
        (
            "[log]\nlog_dest = 'stdout'",
            &["2: unknown key `log_dest` in [log]; mosquitto's is `file`"],
        ),
        (
            "[[rule]]\nallow = 'a/#/b'\nto = 'write'\n[[rule]]\nuser = 'a'\n\
             [[rule]]\nallow = 'a'\ndeny = 'b'\nuser = 'a'\ngroup = 'b'\n[[rule]]\nallow = 'a'\nanonymous = 'no'",
            &[
                "2: `allow`: `a/#/b` is no topic filter of a rule: `#`",
                "3: `to` is \"all\" or \"publish\" or",
                "4: `allow` or `deny` is missing in [[rule]]",
                "8: `allow` and `deny` are two rules",
                "10: `user` and `group`: a rule is about one of them",
                "13: `anonymous` is true or false",
            ],
        ),
        ("data = 'users'", &["1: `data`: users is no folder"]),
    ];
    for (text, expected) in table {
        check(dir.path(), text, expected);
    }
}

/// The mistakes are these, by what they begin with or have in them, and no others.
fn check(dir: &Path, text: &str, expected: &[&str]) {
    let said = mistakes(dir, text);
    assert_eq!(said.len(), expected.len(), "{text}\n{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{text}\n{said} instead of {expected}");
    }
}

#[test]
#[cfg(not(feature = "jwt"))]
fn tokens_without_the_feature_say_what_to_build() {
    let text = "[jwt]\nissuers = ['a']\n[[jwt.key]]\nalgorithm = 'HS256'";
    check(
        folder().path(),
        text,
        &["1: this program has no tokens: build it with `--features jwt`"],
    );
}

#[test]
#[cfg(feature = "jwt")]
fn mistakes_of_tokens_are_told_at_their_keys() {
    let dir = folder();
    fs::write(dir.path().join("short"), "secret\n").unwrap();
    let table: &[(&str, &[&str])] = &[
        (
            "[jwt]\nleeway = 5",
            &["1: tokens need a key: write [[jwt.key]]", "2: `leeway` is a time"],
        ),
        ("[jwt]\njwks_file = 'short'", &["2: no set of keys: expected value"]),
        (
            "[jwt]\nissuer = 'a'\n[[jwt.key]]\nalgorithm = 'none'\n[[jwt.key]]\nid = 'a'\n\
             [[jwt.key]]\nalgorithm = 'HS256'\nsecret_file = 'short'\n\
             [[jwt.key]]\nalgorithm = 'ES256'\npublic_key_file = 'gateway.key'\n\
             [[jwt.key]]\nalgorithm = 'RS256'\nsecret_file = 'gone'",
            &[
                "2: unknown key `issuer` in [jwt]; did you mean `issuers`?",
                "4: `algorithm` is \"HS256\" or",
                "5: `algorithm` is missing in [jwt.key]",
                "9: key of 6 bytes is shorter than the 32 that HS256 asks for",
                "12: no public key in PEM for ES256",
                "13: `public_key_file` is missing in [jwt.key]",
                "15: `secret_file`: cannot read gone",
                "15: `secret_file` is not for this algorithm: set `public_key_file`",
            ],
        ),
    ];
    for (text, expected) in table {
        check(dir.path(), text, expected);
    }
}

#[test]
#[cfg(not(feature = "bridge"))]
fn bridge_without_the_feature_says_what_to_build() {
    let text = "[[bridge]]\nname = 'a'\n[[bridge.send]]\nfilter = '#'";
    check(folder().path(), text, &["1: this program has no bridges: build it with `--features"]);
}

#[test]
#[cfg(feature = "bridge")]
fn mistakes_of_bridges_are_told_at_their_rules() {
    let table: &[(&str, &[&str])] = &[
        (
            "data = 'd'\n[[bridge]]",
            &["2: `name` is missing in [bridge]", "2: `remotes` is missing in [bridge]"],
        ),
        (
            "data = 'd'\n[[bridge]]\nname = 'a'\nremotes = ['b']\n[[bridge.send]]\nfilter = '#'",
            &["3: remote address `b` is not `host:port`"],
        ),
        (
            "data = 'd'\n[[bridge]]\nname = 'a'\nremotes = ['b:1']\n[[bridge.send]]\nfilter = 'x'\n\
             local_prefix = '+/'\nat_least = 2\n[[bridge.receive]]\nfilter = '$share/a/b'",
            &[
                "6: prefix `+/` contains a wildcard",
                "8: `at_least` is 0 or 1",
                "10: `$share/a/b` is sh",
            ],
        ),
        (
            "[[bridge]]\nname = 'a'\nremotes = ['b:1']\nversion = '4'\nkeep_alive = '1 s'\n\
             in_flight = 0\n[bridge.tls]\ncertificate = 'gone'\n[[bridge.send]]\nfilter = '#'",
            &[
                "1: a bridge has its queue in a database: set `data`",
                "4: `version` is \"5\" or \"3.1.1\"",
                "5: `keep_alive` is from 5 s",
                "6: `in_flight` is 1 at least",
                "8: `certificate`: cannot read gone",
            ],
        ),
    ];
    let dir = folder();
    for (text, expected) in table {
        check(dir.path(), text, expected);
    }
}

#[test]
fn command_line_goes_before_the_file() {
    let overrides = Overrides {
        port: Some(5),
        data: Some("there".into()),
        journal: vec![JournalRule { filter: "b".parse().unwrap(), log: "y".to_owned() }],
    };
    let text = "data = 'here'\n[[listener]]\nunix = 's'\n[[listener]]\nport = 4\n[[listener]]\n\
                port = 6\n[[journal]]\nfilter = 'a'\nlog = 'x'";
    let settings = Settings::of(Path::new("broker.toml"), text, &overrides).unwrap();
    assert_eq!(settings.data, Some("there".into()));
    let places: Vec<_> = settings.listeners.iter().map(|it| it.door.place.to_string()).collect();
    assert_eq!(places, ["s", "127.0.0.1:5", "127.0.0.1:6"]);
    let rules: Vec<_> = settings.journal.iter().map(|rule| &rule.log[..]).collect();
    assert_eq!(rules, ["x", "y"]);
}
